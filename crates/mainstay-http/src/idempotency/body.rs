//! A body in memory, up to a bound.

use std::pin::Pin;

use axum::body::{Body, Bytes, HttpBody};

#[derive(Debug)]
pub(super) enum Unread {
    TooLarge,
    /// What sends it went away.
    Broken(axum::Error),
}

/// All of `body`; its trailers are dropped.
pub(super) async fn collect(mut body: Body, max: usize) -> Result<Bytes, Unread> {
    let sure = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if sure > max {
        return Err(Unread::TooLarge);
    }
    let mut all = Vec::new();
    let mut first = None;
    loop {
        let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(frame) = next else { break };
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        let had = first.as_ref().map_or(all.len(), Bytes::len);
        if data.len() > max - had {
            return Err(Unread::TooLarge);
        }
        // Most bodies are of one piece, which need not be copied.
        match first.take() {
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(before) => {
                all.reserve(sure.max(before.len() + data.len()));
                all.extend_from_slice(&before);
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| Bytes::from(all)))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn of(parts: &'static [&'static str], max: usize) -> Result<String, Unread> {
        let parts = parts.iter().map(|part| Ok::<_, Infallible>(Bytes::from(*part)));
        let body = Body::from_stream(futures_util::stream::iter(parts));
        collect(body, max).await.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_body_is_whole_or_too_large() {
        assert_eq!(of(&[], 0).await.unwrap(), "");
        assert_eq!(of(&["", "abc"], 3).await.unwrap(), "abc");
        assert_eq!(of(&["abc", "", "def", "g"], 7).await.unwrap(), "abcdefg");
        assert!(matches!(of(&["abc", "def", "g"], 6).await, Err(Unread::TooLarge)));
        assert!(matches!(of(&["abc"], 2).await, Err(Unread::TooLarge)));
        assert!(matches!(collect(Body::from("abc"), 2).await, Err(Unread::TooLarge)));
    }
}
