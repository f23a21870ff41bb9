//! A message's id, name and headers as headers of NATS, and back. What these can't carry (line breaks,
//! names with spaces) goes as JSON into one of them.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use serde::{Deserialize, Serialize};

use super::super::Message;

/// By which the server knows a message that was published before.
pub(super) const KEY: &str = "Nats-Msg-Id";
/// The id, where the server is to know the message by another.
const ID: &str = "mainstay-id";
const NAME: &str = "mainstay-name";
/// JSON of what fits no header.
const OTHERS: &str = "mainstay-headers";
/// Why it died.
const REASON: &str = "mainstay-reason";

/// What fits no header.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Others {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
}

/// The headers of a new message, known to the server by `key`, or else by its id.
pub(super) fn written(message: &Message, key: Option<&str>) -> HeaderMap {
    let mut map = HeaderMap::new();
    let mut others = Others::default();
    match key {
        None if fits(&message.id) => map.insert(KEY, message.id.as_str()),
        None if message.id.is_empty() => {}
        None => others.id = Some(message.id.clone()),
        Some(key) => {
            map.insert(KEY, key);
            if fits(&message.id) {
                map.insert(ID, message.id.as_str());
            } else {
                others.id = Some(message.id.clone());
            }
        }
    }
    if fits(&message.name) {
        map.insert(NAME, message.name.as_str());
    } else if !message.name.is_empty() {
        others.name = Some(message.name.clone());
    }
    for (name, value) in &message.headers {
        if is_name(name) && fits(value) {
            map.insert(name.as_str(), value.as_str());
        } else {
            others.headers.insert(name.clone(), value.clone());
        }
    }
    if others != Others::default() {
        map.insert(OTHERS, serde_json::json!(others).to_string());
    }
    map
}

/// The message that came with these headers.
pub(super) fn read(headers: Option<&HeaderMap>, body: &[u8]) -> Message {
    let mut message = Message { body: body.to_vec(), ..Message::default() };
    let Some(map) = headers else { return message };
    let (mut id, mut key, mut others) = (None, None, Others::default());
    for (name, values) in map.iter() {
        let name: &str = name.as_ref();
        let value = values.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", ");
        match name {
            KEY => key = Some(value),
            ID => id = Some(value),
            NAME => message.name = value,
            // Somebody else's may hold anything.
            OTHERS => others = serde_json::from_str(&value).unwrap_or_default(),
            // What the server and its clients tell each other.
            name if name.starts_with("Nats-") => {}
            _ => {
                message.headers.insert(name.to_owned(), value);
            }
        }
    }
    message.id = id.or(others.id).or(key).unwrap_or_default();
    if let Some(name) = others.name {
        message.name = name;
    }
    message.headers.extend(others.headers);
    message
}

/// The message as a dead letter.
pub(super) fn died(mut message: Message, reason: String) -> Message {
    message.headers.insert(REASON.to_owned(), reason);
    message
}

/// The dead letter as a message.
pub(super) fn revived(mut message: Message) -> Message {
    message.headers.remove(REASON);
    message
}

/// Whether a header can carry `value` unchanged.
fn fits(value: &str) -> bool {
    !value.is_empty() && value.trim() == value && !value.contains(char::is_control)
}

/// Whether a header of a message can be called so.
fn is_name(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let reserved = [ID, NAME, OTHERS].contains(&name)
        || name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("nats-"));
    !name.is_empty() && name.chars().all(letters) && !reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[(&str, &str)]) -> Message {
        Message {
            id: "id 1".into(),
            name: "order.created".into(),
            headers: headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            body: b"{}".to_vec(),
        }
    }

    #[test]
    fn whatever_a_message_says_comes_back() {
        let odd = [
            ("plain", "value"),
            ("Case-Matters", "é"),
            ("with space", "x"),
            ("", "no name"),
            ("colon:", "x"),
            ("lines", "a\r\nb"),
            ("padded", " a "),
            ("empty", ""),
            ("nats-like", "x"),
            (ID, "x"),
            (OTHERS, "{}"),
            (REASON, "because"),
        ];
        for mut message in [message(&[]), message(&odd), Message::default()] {
            for id in ["", "plain", "two\nlines"] {
                message.id = id.into();
                for key in [None, Some("key")] {
                    let map = written(&message, key);
                    assert_eq!(read(Some(&map), &message.body), message, "{map:?}");
                }
            }
        }
    }

    #[test]
    fn the_server_knows_a_message_by_its_id_or_the_key() {
        let key = |map: HeaderMap| map.get(KEY).map(|value| value.as_str().to_owned());
        assert_eq!(key(written(&message(&[]), None)).as_deref(), Some("id 1"));
        assert_eq!(key(written(&message(&[]), Some("k"))).as_deref(), Some("k"));
        assert_eq!(key(written(&Message::default(), None)), None);
    }

    #[test]
    fn a_strangers_message_is_read_as_it_is() {
        assert_eq!(read(None, b"x"), Message { body: b"x".to_vec(), ..Message::default() });
        let mut map = HeaderMap::new();
        map.append("Twice", "a");
        map.append("Twice", "b");
        map.insert("Nats-Expected-Stream", "s");
        map.insert(OTHERS, "no json");
        let message = read(Some(&map), b"");
        assert_eq!(message.headers, BTreeMap::from([("Twice".into(), "a, b".into())]));
    }

    #[test]
    fn a_reason_is_taken_off_again() {
        let dead = died(message(&[("a", "b")]), "no such user".into());
        assert_eq!(dead.headers["mainstay-reason"], "no such user");
        assert_eq!(revived(dead), message(&[("a", "b")]));
    }
}
