//! Between a [`Message`] and the properties that AMQP carries beside a body. Headers of any type are
//! read as text; ours are written as text.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, ShortString};
use mainstay_core::{Code, Error, Result};

use super::super::Message;

/// What AMQP can carry of a short text.
const SHORT: usize = 255;
/// All properties travel in one frame, which holds 128 KiB with a broker's defaults.
const HEADERS_BYTES: usize = 96 * 1024;
/// What RabbitMQ takes by default; a larger one ends the channel, and others' messages with it.
const BODY_BYTES: usize = 128 * 1024 * 1024;
const PERSISTENT: u8 = 2;
const JSON: &str = "application/json";
/// How often a quorum queue delivered a message before.
const DELIVERIES: &str = "x-delivery-count";

/// How `message` is published. Errors: MSG-003 where AMQP can't carry it.
pub(super) fn written(message: &Message) -> Result<BasicProperties> {
    let mut table = FieldTable::default();
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(JSON.into())
        .with_message_id(short(&message.id, "its id")?)
        .with_type(short(&message.name, "its name")?);
    let mut bytes = 0;
    for (name, value) in &message.headers {
        bytes += name.len() + value.len() + 6;
        // What others read as a property, such as the address of an answer.
        properties = match (name.as_str(), value.len() <= SHORT) {
            ("content-type", true) => properties.with_content_type(value.as_str().into()),
            ("content-encoding", true) => properties.with_content_encoding(value.as_str().into()),
            ("correlation-id", true) => properties.with_correlation_id(value.as_str().into()),
            ("reply-to", true) => properties.with_reply_to(value.as_str().into()),
            ("app-id", true) => properties.with_app_id(value.as_str().into()),
            _ => {
                let value = AMQPValue::LongString(value.as_str().into());
                table.insert(short(name, "a header's name")?, value);
                properties
            }
        };
    }
    if bytes > HEADERS_BYTES {
        return Err(refused(format!("its headers have {bytes} bytes, more than {HEADERS_BYTES}")));
    }
    if message.body.len() > BODY_BYTES {
        let length = message.body.len();
        return Err(refused(format!("it has {length} bytes, more than {BODY_BYTES}")));
    }
    if !message.headers.is_empty() {
        properties = properties.with_headers(table);
    }
    Ok(properties)
}

/// A message as it was delivered.
pub(super) fn read(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let text = |short: &Option<ShortString>| short.as_ref().map(ToString::to_string);
    let mut message = Message {
        id: text(properties.message_id()).unwrap_or_default(),
        name: text(properties.kind()).unwrap_or_default(),
        body,
        ..Message::default()
    };
    let content_type = text(properties.content_type()).filter(|kind| kind != JSON);
    for (name, value) in [
        ("content-type", content_type),
        ("content-encoding", text(properties.content_encoding())),
        ("correlation-id", text(properties.correlation_id())),
        ("reply-to", text(properties.reply_to())),
        ("app-id", text(properties.app_id())),
        ("user-id", text(properties.user_id())),
        ("expiration", text(properties.expiration())),
        ("priority", properties.priority().map(|p| p.to_string())),
        ("timestamp", properties.timestamp().map(|t| t.to_string())),
    ] {
        if let Some(value) = value {
            message.headers.insert(name.to_owned(), value);
        }
    }
    // A header of a property's name wins: it was given by hand.
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        if name.as_str() != DELIVERIES {
            message.headers.insert(name.to_string(), rendered(value));
        }
    }
    message
}

/// How often a message was delivered, this time included.
pub(super) fn deliveries(properties: &BasicProperties, redelivered: bool) -> u32 {
    let counted = properties.headers().as_ref().and_then(|table| {
        let before = match table.inner().get(DELIVERIES)? {
            AMQPValue::LongLongInt(n) => u32::try_from(*n).unwrap_or(u32::MAX),
            AMQPValue::LongInt(n) => u32::try_from(*n).unwrap_or_default(),
            AMQPValue::LongUInt(n) => *n,
            AMQPValue::ShortInt(n) => u32::try_from(*n).unwrap_or_default(),
            AMQPValue::ShortUInt(n) => u32::from(*n),
            AMQPValue::ShortShortInt(n) => u32::try_from(*n).unwrap_or_default(),
            AMQPValue::ShortShortUInt(n) => u32::from(*n),
            _ => return None,
        };
        Some(before.saturating_add(1))
    });
    // A classic queue tells no more than that it was not the first time.
    counted.unwrap_or(1 + u32::from(redelivered))
}

/// Without what the broker wrote into a message when it went to the dead letters.
pub(super) fn revived(properties: &BasicProperties) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        let of_death = name.as_str() == "x-death"
            || name.as_str().starts_with("x-first-death-")
            || name.as_str().starts_with("x-last-death-");
        if !of_death && name.as_str() != DELIVERIES {
            table.insert(name.clone(), value.clone());
        }
    }
    kept(properties, BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(table))
}

/// `to` with what `from` says of the message: neither its headers, nor when it expires (whoever puts it
/// back wants it done), nor its user (the broker takes no other than the connection's).
fn kept(from: &BasicProperties, mut to: BasicProperties) -> BasicProperties {
    if let Some(value) = from.message_id() {
        to = to.with_message_id(value.clone());
    }
    if let Some(value) = from.kind() {
        to = to.with_type(value.clone());
    }
    if let Some(value) = from.content_type() {
        to = to.with_content_type(value.clone());
    }
    if let Some(value) = from.content_encoding() {
        to = to.with_content_encoding(value.clone());
    }
    if let Some(value) = from.correlation_id() {
        to = to.with_correlation_id(value.clone());
    }
    if let Some(value) = from.reply_to() {
        to = to.with_reply_to(value.clone());
    }
    if let Some(value) = from.app_id() {
        to = to.with_app_id(value.clone());
    }
    if let Some(value) = from.timestamp() {
        to = to.with_timestamp(*value);
    }
    if let Some(value) = from.priority() {
        to = to.with_priority(*value);
    }
    to
}

/// A header's value as text: numbers in decimal, times as seconds since 1970, bytes that are no UTF-8
/// in hexadecimal, lists and tables as JSON writes them.
fn rendered(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(v) => v.to_string(),
        AMQPValue::ShortShortInt(v) => v.to_string(),
        AMQPValue::ShortShortUInt(v) => v.to_string(),
        AMQPValue::ShortInt(v) => v.to_string(),
        AMQPValue::ShortUInt(v) => v.to_string(),
        AMQPValue::LongInt(v) => v.to_string(),
        AMQPValue::LongUInt(v) => v.to_string(),
        AMQPValue::LongLongInt(v) => v.to_string(),
        AMQPValue::Float(v) => v.to_string(),
        AMQPValue::Double(v) => v.to_string(),
        AMQPValue::DecimalValue(v) => decimal(*v),
        AMQPValue::Timestamp(v) => v.to_string(),
        AMQPValue::ShortString(v) => v.to_string(),
        AMQPValue::LongString(v) => bytes(v.as_bytes()),
        AMQPValue::ByteArray(v) => bytes(v.as_slice()),
        AMQPValue::Void => String::new(),
        AMQPValue::FieldArray(list) => {
            let items: Vec<_> = list.as_slice().iter().map(nested).collect();
            format!("[{}]", items.join(","))
        }
        AMQPValue::FieldTable(table) => {
            let items: Vec<_> = table
                .inner()
                .iter()
                .map(|(name, value)| format!("{}:{}", quoted(name.as_str()), nested(value)))
                .collect();
            format!("{{{}}}", items.join(","))
        }
    }
}

/// As [`rendered`], but text stands in quotes.
fn nested(value: &AMQPValue) -> String {
    match value {
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) | AMQPValue::ByteArray(_) => {
            quoted(&rendered(value))
        }
        AMQPValue::Void => "null".to_owned(),
        other => rendered(other),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")),
    }
}

/// `value` with its point `scale` digits from the right.
fn decimal(decimal: DecimalValue) -> String {
    // The broker's numbers have a sign, though the protocol's text does not say so.
    let value = i64::from(decimal.value as i32);
    let (sign, scale) = (if value < 0 { "-" } else { "" }, usize::from(decimal.scale));
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

fn short(text: &str, part: &str) -> Result<ShortString> {
    ShortString::try_new(text)
        .map_err(|_| refused(format!("{part} has {} bytes, more than {SHORT}", text.len())))
}

fn refused(why: String) -> Error {
    Error::new(Code::BrokerRefused, "AMQP can't carry the message")
        .why(why)
        .fix("make it smaller: keep what is large elsewhere, and send where it is")
        .retry(mainstay_core::Retry::Never)
}

#[cfg(test)]
mod tests {
    use lapin::types::{ByteArray, FieldArray};

    use super::*;

    fn message() -> Message {
        let mut message = Message {
            id: "0190-a".into(),
            name: "mail.welcome".into(),
            body: b"{}".to_vec(),
            ..Message::default()
        };
        for (name, value) in [("tenant", "7"), ("reply-to", "answers"), ("priority", "high")] {
            message.headers.insert(name.into(), value.into());
        }
        message
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let properties = written(&message()).unwrap();
        assert_eq!(*properties.delivery_mode(), Some(PERSISTENT));
        assert_eq!(properties.reply_to().as_ref().unwrap().as_str(), "answers");
        assert_eq!(read(&properties, b"{}".to_vec()), message());
    }

    #[test]
    fn headers_of_every_type_become_text() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut table = FieldTable::default();
        table.insert("a".into(), AMQPValue::FieldArray(FieldArray::from(vec![text("x\"y")])));
        table.insert("n".into(), AMQPValue::Void);
        let decimal = |value: i32, scale| {
            AMQPValue::DecimalValue(DecimalValue { scale, value: value as u32 })
        };
        for (value, expected) in [
            (AMQPValue::Boolean(true), "true"),
            (AMQPValue::ShortShortInt(-1), "-1"),
            (AMQPValue::ShortShortUInt(255), "255"),
            (AMQPValue::LongLongInt(i64::MIN), "-9223372036854775808"),
            (AMQPValue::Double(1.5), "1.5"),
            (decimal(12345, 2), "123.45"),
            (decimal(-5, 2), "-0.05"),
            (decimal(7, 0), "7"),
            (AMQPValue::Timestamp(1_700_000_000), "1700000000"),
            (text("é"), "é"),
            (AMQPValue::LongString(vec![0xff, 0x00].into()), "ff00"),
            (AMQPValue::ByteArray(ByteArray::from(vec![0xfe])), "fe"),
            (AMQPValue::Void, ""),
            (AMQPValue::FieldTable(table), r#"{"a":["x\"y"],"n":null}"#),
        ] {
            assert_eq!(rendered(&value), expected);
        }
    }

    #[test]
    fn what_others_leave_out_is_empty() {
        let read = read(&BasicProperties::default(), b"x".to_vec());
        assert_eq!(read, Message { body: b"x".to_vec(), ..Message::default() });
        assert_eq!(deliveries(&BasicProperties::default(), false), 1);
        assert_eq!(deliveries(&BasicProperties::default(), true), 2);
    }

    #[test]
    fn a_revived_message_has_forgotten_its_death() {
        let mut table = FieldTable::default();
        for name in ["x-death", "x-first-death-reason", DELIVERIES, "tenant"] {
            table.insert(name.into(), AMQPValue::LongLongInt(4));
        }
        let dead = written(&message()).unwrap().with_headers(table).with_expiration("9".into());
        assert_eq!(deliveries(&dead, true), 5);
        let revived = revived(&dead);
        let names: Vec<_> =
            revived.headers().as_ref().unwrap().inner().keys().map(|k| k.as_str()).collect();
        assert_eq!(names, ["tenant"]);
        assert_eq!(revived.message_id(), dead.message_id());
        assert_eq!(revived.reply_to(), dead.reply_to());
        assert!(revived.expiration().is_none());
    }

    #[test]
    fn what_amqp_cannot_carry_is_refused_before_it_harms_others() {
        let long = "x".repeat(256);
        for message in [
            Message { id: long.clone(), ..Message::default() },
            Message { name: long.clone(), ..Message::default() },
            Message { headers: [(long, String::new())].into(), ..Message::default() },
            Message {
                headers: [("h".into(), "x".repeat(HEADERS_BYTES))].into(),
                ..Message::default()
            },
        ] {
            assert_eq!(written(&message).unwrap_err().code(), Code::BrokerRefused);
        }
    }
}
