//! A message as the fields of a stream's entry, and back.

use std::collections::BTreeMap;

use redis::Cmd;

use super::super::Message;
use super::scripts::DELIVERIES;

const ID: &[u8] = b"id";
const NAME: &[u8] = b"name";
/// JSON.
const HEADERS: &[u8] = b"headers";
const BODY: &[u8] = b"body";

/// The command that adds `message` to the stream `key`, which must be there.
pub(super) fn add(key: &str, message: &Message) -> Cmd {
    let mut add = redis::cmd("XADD");
    add.arg(key).arg("NOMKSTREAM").arg("*");
    add.arg(ID).arg(&message.id).arg(NAME).arg(&message.name);
    if !message.headers.is_empty() {
        add.arg(HEADERS).arg(serde_json::json!(message.headers).to_string());
    }
    add.arg(BODY).arg(&message.body);
    add
}

/// The message in these fields, and how often it was delivered before it was put back. Fields that are
/// not ours are taken for headers.
pub(super) fn read(fields: Vec<Vec<u8>>) -> (Message, u32) {
    let mut message = Message::default();
    let mut before = 0;
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        match name.as_slice() {
            ID => message.id = text(&value),
            NAME => message.name = text(&value),
            BODY => message.body = value,
            HEADERS => {
                match serde_json::from_slice::<BTreeMap<String, String>>(&value) {
                    Ok(headers) => message.headers.extend(headers),
                    // Somebody else's.
                    Err(_) => drop(message.headers.insert(text(HEADERS), text(&value))),
                }
            }
            name if name == DELIVERIES.as_bytes() => before = text(&value).parse().unwrap_or(0),
            name => drop(message.headers.insert(text(name), text(&value))),
        }
    }
    (message, before)
}

#[cfg(test)]
mod tests {
    use redis::Arg;

    use super::super::scripts::REASON;
    use super::*;

    fn fields(command: &Cmd) -> Vec<Vec<u8>> {
        let arguments = command.args_iter().skip(4);
        arguments
            .map(|argument| match argument {
                Arg::Simple(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn whatever_a_message_says_comes_back() {
        let headers = [("a", "b"), ("", ""), ("id", "x"), ("two\nlines", "é\r\n")];
        let full = Message {
            id: "1\n".into(),
            name: "order.created".into(),
            headers: headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            body: vec![0, 255, 10],
        };
        for message in [full, Message::default()] {
            assert_eq!(read(fields(&add("k", &message))), (message, 0));
        }
    }

    #[test]
    fn what_was_added_by_the_server_or_a_stranger_is_read() {
        let text = |text: &str| text.as_bytes().to_vec();
        let (message, before) = read(vec![
            text(DELIVERIES),
            text("3"),
            text(REASON),
            text("because"),
            text("headers"),
            text("no json"),
            text("odd"),
        ]);
        assert_eq!(before, 3);
        let expected = [("headers", "no json"), (REASON, "because")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(message.headers, BTreeMap::from(expected));
    }
}
