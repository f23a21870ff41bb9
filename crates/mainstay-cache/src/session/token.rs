//! Ids, their signatures, and what the store knows them by. Nothing here is ever printed. The one place
//! whose randomness is fit for secrets.

use mainstay_core::{Code, Error, Result};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

const ID_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// Bytes that nobody can foresee, of the system's own generator: for a secret, or a code that is mailed.
/// [`Rng`](mainstay_core::rng::Rng) is not.
///
/// Errors: CACHE-001 where the system gives none.
pub fn secret_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Error::new(Code::CacheStore, "the system gives no random bytes")
            .fix("look at getrandom(2) and at what the sandbox allows")
    })?;
    Ok(bytes)
}

/// What names a session to its browser: 64 hexadecimal digits. It has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Id(String);

impl Id {
    /// A new one. Errors: CACHE-001 where the system gives no randomness.
    pub(super) fn new() -> Result<Self> {
        Ok(Self(hex(&secret_bytes::<ID_BYTES>()?)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What the store knows it by: who reads that can't make the id of it. No salt: an id is no word of a
    /// dictionary.
    pub(super) fn key(&self) -> String {
        hex(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref())
    }
}

/// Signs ids, and knows its signatures again.
pub(super) struct Signer(Vec<hmac::Key>);

impl Signer {
    /// The first of `secrets` signs.
    pub(super) fn new(secrets: &[Vec<u8>]) -> Self {
        Self(secrets.iter().map(|s| hmac::Key::new(hmac::HMAC_SHA256, s)).collect())
    }

    /// What the cookie `name` holds for `id`.
    pub(super) fn sign(&self, name: &str, id: &Id) -> String {
        // The builder sees to it that there is one.
        let mac = self.0.first().map(|key| hmac::sign(key, &message(name, &id.0)));
        format!("{}.{}", id.0, mac.map(|mac| hex(mac.as_ref())).unwrap_or_default())
    }

    /// The id in a cookie's value, if it was signed here. The comparison takes the same time wherever the
    /// signatures differ.
    pub(super) fn verify(&self, name: &str, value: &str) -> Option<Id> {
        let (id, mac) = value.split_once('.')?;
        let mac = unhex(mac).filter(|mac| mac.len() == MAC_BYTES)?;
        unhex(id).filter(|id| id.len() == ID_BYTES)?;
        let message = message(name, id);
        let known = self.0.iter().any(|key| hmac::verify(key, &message, &mac).is_ok());
        known.then(|| Id(id.to_owned()))
    }
}

/// With the cookie's name, so that two kinds of sessions with one secret are not taken for each other.
fn message(name: &str, id: &str) -> Vec<u8> {
    [b"mainstay session\0", name.as_bytes(), b"\0", id.as_bytes()].concat()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// Small letters alone: an id has one spelling.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |d: u8| match d {
        b'0'..=b'9' => Some(d - b'0'),
        b'a'..=b'f' => Some(d - b'a' + 10),
        _ => None,
    };
    if !text.len().is_multiple_of(2) || text.len() > 2 * ID_BYTES.max(MAC_BYTES) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|d| Some(digit(d[0])? << 4 | digit(d[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secrets: &[u8]) -> Signer {
        Signer::new(&secrets.iter().map(|s| vec![*s; 32]).collect::<Vec<_>>())
    }

    #[test]
    fn every_changed_digit_is_noticed() {
        let (signer, id) = (signer(b"a"), Id::new().unwrap());
        let value = signer.sign("s", &id);
        assert!(signer.verify("s", &value).is_some_and(|found| found == id));
        assert!(signer.verify("other", &value).is_none());
        for at in 0..value.len() {
            let mut bytes = value.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert!(signer.verify("s", std::str::from_utf8(&bytes).unwrap()).is_none(), "{at}");
        }
        let cut = &value[..value.len() - 2];
        for forged in ["", ".", cut, &format!("{value}00"), &value.to_uppercase(), id.as_str()] {
            assert!(signer.verify("s", forged).is_none(), "{forged}");
        }
    }

    #[test]
    fn an_old_secret_is_believed_until_it_is_taken_away() {
        let id = Id::new().unwrap();
        let old = signer(b"a").sign("s", &id);
        assert!(signer(b"ba").verify("s", &old).is_some());
        assert!(signer(b"b").verify("s", &old).is_none());
        assert_eq!(signer(b"ba").sign("s", &id), signer(b"b").sign("s", &id));
    }

    #[test]
    fn the_store_s_key_is_not_the_id() {
        let (one, other) = (Id::new().unwrap(), Id::new().unwrap());
        assert!(one.as_str() != other.as_str() && one.key() != other.key());
        assert!(one.key() != one.as_str() && one.key().len() == 64);
    }
}
