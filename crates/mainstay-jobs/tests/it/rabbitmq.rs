//! RabbitMQ as a broker, against a real one: what is confirmed is there, what is not acknowledged comes
//! again, and nothing of it is lost when the broker is killed, restarted or frozen. Another client
//! (pika) stands at the other end where messages of others are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use mainstay_core::{Code, Error};
use mainstay_jobs::broker::rabbitmq::RabbitMq;
use mainstay_jobs::broker::{Broker as _, Consumer, Delivery, Message};
use mainstay_testkit::Broker;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// Long enough for a slow machine; nothing waits for it that goes well.
const PATIENCE: Duration = Duration::from_secs(60);

/// The broker of all tests that leave it alone.
async fn broker() -> &'static Broker {
    static BROKER: OnceCell<Broker> = OnceCell::const_new();
    BROKER.get_or_init(Broker::rabbitmq).await
}

async fn connected() -> RabbitMq {
    RabbitMq::connect(&broker().await.url()).await.unwrap()
}

fn message(id: impl std::fmt::Display) -> Message {
    Message {
        id: id.to_string(),
        name: "order.created".into(),
        headers: BTreeMap::from([("tenant".into(), "7".into())]),
        body: br#"{"order":1}"#.to_vec(),
    }
}

async fn published(rabbit: &RabbitMq, queue: &str, messages: &[Message]) {
    for result in rabbit.publish(queue, messages).await {
        result.unwrap();
    }
}

async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    timeout(PATIENCE, consumer.next()).await.expect("nothing was delivered").unwrap()
}

/// Waits until `queue` has `expected` messages that wait.
async fn depth(rabbit: &RabbitMq, queue: &str, expected: u64) {
    let reached = async {
        while rabbit.depth(queue).await.unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "`{queue}` has {:?}, not {expected}", rabbit.depth(queue).await);
}

/// The error of a call that must fail.
fn failed<T>(result: Result<T, Error>) -> Error {
    result.err().expect("it went well")
}

/// Runs `script` in the interpreter that Debian's python3-pika is installed for.
async fn pika(script: &str, url: &str) -> String {
    let (script, url) = (script.to_owned(), url.to_owned());
    let work = move || {
        let mut child = Command::new("/usr/bin/python3")
            .args(["-", &format!("{url}/%2F")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(work).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python3-pika (a Debian package) failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_published_message_is_delivered_as_it_was_and_is_gone_when_acknowledged() {
    let rabbit = connected().await;
    rabbit.declare("whole").await.unwrap();
    rabbit.declare("whole").await.unwrap();
    let mut sent = message("0190");
    sent.headers.insert("trace".into(), "é\n".into());
    sent.body = vec![0; 300_000];
    published(&rabbit, "whole", &[sent.clone(), Message::default()]).await;
    depth(&rabbit, "whole", 2).await;

    let mut consumer = rabbit.consume("whole", 10).await.unwrap();
    for expected in [sent, Message::default()] {
        let delivery = next(&mut consumer).await;
        assert_eq!((&delivery.message, delivery.deliveries), (&expected, 1));
        delivery.receipt.keep().await.unwrap();
        delivery.receipt.ack().await.unwrap();
    }
    drop(consumer);
    depth(&rabbit, "whole", 0).await;
    rabbit.remove("whole").await.unwrap();
    assert_eq!(failed(rabbit.depth("whole").await).code(), Code::BrokerQueue);
}

#[tokio::test]
async fn what_is_not_settled_comes_again_and_is_counted() {
    let rabbit = connected().await;
    rabbit.declare("again").await.unwrap();
    published(&rabbit, "again", &[message(1)]).await;
    let mut consumer = rabbit.consume("again", 1).await.unwrap();
    // Dropped, given back, and with its consumer gone.
    drop(next(&mut consumer).await);
    let second = next(&mut consumer).await;
    assert_eq!(second.deliveries, 2);
    second.receipt.again(Duration::ZERO).await.unwrap();
    let third = next(&mut consumer).await;
    assert_eq!(third.deliveries, 3);
    drop(consumer);
    let mut consumer = rabbit.consume("again", 1).await.unwrap();
    let fourth = next(&mut consumer).await;
    assert_eq!((fourth.deliveries, fourth.message.id.as_str()), (4, "1"));
    // The third's channel is gone: its receipt must not settle what the fourth has.
    third.receipt.ack().await.unwrap();
    drop(fourth);
    let fifth = next(&mut consumer).await;
    fifth.receipt.ack().await.unwrap();
    drop(consumer);
    depth(&rabbit, "again", 0).await;
    rabbit.remove("again").await.unwrap();
}

#[tokio::test]
async fn no_more_than_the_prefetch_is_under_way() {
    let rabbit = connected().await;
    rabbit.declare("few").await.unwrap();
    let messages: Vec<_> = (0..10).map(message).collect();
    published(&rabbit, "few", &messages).await;
    let mut consumer = rabbit.consume("few", 3).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut consumer).await);
    }
    depth(&rabbit, "few", 7).await;
    let more = timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(more.is_err(), "a fourth was delivered");
    held.pop().unwrap().receipt.ack().await.unwrap();
    assert_eq!(next(&mut consumer).await.message.id, "3");
    drop(consumer);
    rabbit.remove("few").await.unwrap();
}

#[tokio::test]
async fn what_fails_too_often_or_is_refused_goes_to_the_dead_letters_and_back() {
    let url = broker().await.url();
    let rabbit = RabbitMq::builder(&url).delivery_limit(2).connect().await.unwrap();
    rabbit.declare("poison").await.unwrap();
    published(&rabbit, "poison", &[message("often"), message("refused")]).await;
    let mut consumer = rabbit.consume("poison", 10).await.unwrap();
    let mut often = 0;
    while rabbit.dead("poison", 10).await.unwrap().len() < 2 {
        let Ok(delivery) = timeout(Duration::from_millis(200), consumer.next()).await else {
            continue;
        };
        let delivery = delivery.unwrap();
        if delivery.message.id == "often" {
            often = delivery.deliveries;
            delivery.receipt.again(Duration::ZERO).await.unwrap();
        } else {
            delivery.receipt.dead("not for us".into()).await.unwrap();
        }
    }
    assert_eq!(often, 3, "the first delivery and two repetitions");
    drop(consumer);

    let dead = rabbit.dead("poison", 10).await.unwrap();
    let ids: BTreeSet<_> = dead.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids, BTreeSet::from(["often", "refused"]));
    assert!(dead.iter().all(|message| message.headers.contains_key("x-death")), "{dead:?}");
    assert_eq!(rabbit.dead("poison", 1).await.unwrap().len(), 1);

    assert_eq!(rabbit.requeue_dead("poison", 1).await.unwrap(), 1);
    assert_eq!(rabbit.requeue_dead("poison", 10).await.unwrap(), 1);
    assert_eq!(rabbit.requeue_dead("poison", 10).await.unwrap(), 0);
    let mut consumer = rabbit.consume("poison", 10).await.unwrap();
    for _ in 0..2 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.deliveries, 1);
        let Message { name, headers, body, .. } = message(0);
        let back = &delivery.message;
        assert_eq!((&back.name, &back.headers, &back.body), (&name, &headers, &body));
        delivery.receipt.ack().await.unwrap();
    }
    drop(consumer);
    rabbit.remove("poison").await.unwrap();
}

#[tokio::test]
async fn a_message_without_a_queue_is_refused_and_the_others_are_not() {
    let rabbit = connected().await;
    let error = failed(rabbit.publish("nowhere", &[message(1)]).await.remove(0));
    assert_eq!(error.code(), Code::BrokerRefused);
    let error = failed(rabbit.publish_to("nowhere", "x", &[message(1)]).await.remove(0));
    assert_eq!(error.code(), Code::BrokerRefused);
    assert!(error.report().contains("no exchange `nowhere`"), "{error:?}");
    // An exchange that is there, and leads nowhere.
    let results = rabbit.publish_to("amq.direct", "nobody", &[message(1), message(2)]).await;
    for error in results.into_iter().map(failed) {
        assert_eq!(error.code(), Code::BrokerRefused);
        assert!(error.report().contains("is bound to `amq.direct`"), "{error:?}");
    }
    // One that AMQP can't carry, between others; and a queue that went away in between.
    rabbit.declare("mixed").await.unwrap();
    let long = message("x".repeat(300));
    let results = rabbit.publish("mixed", &[message(1), long, message(2)]).await;
    let codes: Vec<_> = results.iter().map(|r| r.as_ref().err().map(Error::code)).collect();
    assert_eq!(codes, [None, Some(Code::BrokerRefused), None]);
    rabbit.remove("mixed").await.unwrap();
    let error = failed(rabbit.publish("mixed", &[message(1)]).await.remove(0));
    assert_eq!(error.code(), Code::BrokerRefused);
}

#[tokio::test]
async fn many_publishers_at_once_get_each_their_own_confirms() {
    let rabbit = connected().await;
    rabbit.declare("many").await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for publisher in 0..80 {
        let rabbit = rabbit.clone();
        tasks.spawn(async move {
            let messages: Vec<_> = (0..25).map(|n| message(format!("{publisher}-{n}"))).collect();
            // Some give up at once: what they leave behind must not harm the others.
            let limit = if publisher % 8 == 7 { Duration::from_millis(2) } else { PATIENCE };
            let done = timeout(limit, rabbit.publish("many", &messages)).await;
            done.map_or(0, |results| results.into_iter().map(Result::unwrap).count())
        });
    }
    let mut confirmed = 0;
    while let Some(count) = tasks.join_next().await {
        confirmed += count.unwrap();
    }
    assert!(confirmed >= 70 * 25, "{confirmed}");
    let waiting = rabbit.depth("many").await.unwrap();
    assert!(waiting >= confirmed as u64, "{confirmed} confirmed, and {waiting} there");
    rabbit.remove("many").await.unwrap();
}

#[tokio::test]
async fn a_queue_with_other_properties_is_told() {
    let rabbit = connected().await;
    let script = "
import pika, sys
channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
channel.queue_declare('theirs', durable=True)
";
    pika(script, &broker().await.url()).await;
    let error = failed(rabbit.declare("theirs").await);
    assert_eq!(error.code(), Code::BrokerQueue);
    assert!(error.report().contains("inequivalent arg"), "{error:?}");
    let error = failed(rabbit.consume("theirs", 1).await.map(drop));
    assert_eq!(error.code(), Code::BrokerQueue);
    // The connection is as good as before.
    rabbit.declare("ours").await.unwrap();
    let other = RabbitMq::builder(&broker().await.url()).delivery_limit(3).connect().await.unwrap();
    let error = failed(other.declare("ours").await);
    assert!(error.report().contains("x-delivery-limit"), "{error:?}");
    rabbit.remove("ours").await.unwrap();
}

#[tokio::test]
async fn the_queue_of_another_is_used_as_it_is() {
    let rabbit = connected().await.foreign("plain").foreign("missing");
    let error = failed(rabbit.consume("missing", 1).await.map(drop));
    assert_eq!(error.code(), Code::BrokerQueue);
    let error = failed(rabbit.publish("missing", &[message(1)]).await.remove(0));
    assert_eq!(error.code(), Code::BrokerQueue);

    let produce = "
import pika, sys, datetime, decimal
channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
channel.queue_declare('plain')
channel.confirm_delivery()
headers = {'text': 'Grüße', 'number': -7, 'large': 2**40, 'yes': True, 'none': None,
           'list': [1, 'two'], 'table': {'a': {'b': 1}}, 'price': decimal.Decimal('1.25'),
           'when': datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
           'bytes': b'\\xff\\x00'}
channel.basic_publish('', 'plain', b'\\x00hello', pika.BasicProperties(
    headers=headers, message_id='m-1', type='greeting', reply_to='answers',
    correlation_id='c-1', content_type='text/plain', priority=3))
channel.basic_publish('', 'plain', b'bare')
channel.basic_publish('', 'plain', b'refused')
";
    pika(produce, &broker().await.url()).await;
    let mut consumer = rabbit.consume("plain", 1).await.unwrap();
    let rich = next(&mut consumer).await;
    let Message { id, name, headers, body } = &rich.message;
    assert_eq!((id.as_str(), name.as_str(), body.as_slice()), ("m-1", "greeting", &b"\0hello"[..]));
    let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    insta::assert_snapshot!(headers.join("\n"), @r#"
    bytes=ff00
    content-type=text/plain
    correlation-id=c-1
    large=1099511627776
    list=[1,"two"]
    none=
    number=-7
    price=1.25
    priority=3
    reply-to=answers
    table={"a":{"b":1}}
    text=Grüße
    when=1704067200
    yes=true
    "#);
    assert_eq!(rich.deliveries, 1);
    drop(rich);
    let rich = next(&mut consumer).await;
    assert_eq!(rich.deliveries, 2, "a classic queue tells no more than that it came before");
    rich.receipt.ack().await.unwrap();
    let bare = next(&mut consumer).await;
    let expected = Message { body: b"bare".to_vec(), ..Message::default() };
    assert_eq!((&bare.message, bare.deliveries), (&expected, 1));
    bare.receipt.ack().await.unwrap();
    // It has no dead letters: refused is gone.
    next(&mut consumer).await.receipt.dead("unreadable".into()).await.unwrap();
    drop(consumer);
    depth(&rabbit, "plain", 0).await;
    assert_eq!(failed(rabbit.dead("plain", 1).await).code(), Code::BrokerQueue);
    assert_eq!(failed(rabbit.requeue_dead("plain", 1).await).code(), Code::BrokerQueue);
    assert_eq!(failed(rabbit.remove("plain").await).code(), Code::BrokerQueue);
}

#[tokio::test]
async fn another_client_reads_what_we_publish() {
    let rabbit = connected().await.foreign("inbox");
    let url = broker().await.url();
    let declare = "
import pika, sys
channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
channel.exchange_declare('mail', 'topic')
channel.queue_declare('inbox', durable=True)
channel.queue_bind('inbox', 'mail', 'mail.#')
";
    pika(declare, &url).await;
    let mut answer = message("7");
    answer.headers.insert("correlation-id".into(), "c-1".into());
    published(&rabbit, "inbox", &[answer]).await;
    for result in rabbit.publish_to("mail", "mail.sent", &[message("8")]).await {
        result.unwrap();
    }
    let read = "
import pika, sys
channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
for _ in range(2):
    method, p, body = channel.basic_get('inbox')
    print(p.message_id, p.type, p.content_type, p.delivery_mode, p.correlation_id, p.headers,
          body.decode())
    channel.basic_ack(method.delivery_tag)
";
    insta::assert_snapshot!(pika(read, &url).await, @r#"
    7 order.created application/json 2 c-1 {'tenant': '7'} {"order":1}
    8 order.created application/json 2 None {'tenant': '7'} {"order":1}
    "#);
    // And from a queue of ours.
    rabbit.declare("shared").await.unwrap();
    published(&rabbit, "shared", &[message("9")]).await;
    let read = "
import pika, sys
channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
for method, properties, body in channel.consume('shared'):
    print(properties.message_id, body.decode())
    channel.basic_ack(method.delivery_tag)
    break
channel.cancel()
";
    assert_eq!(pika(read, &url).await, "9 {\"order\":1}\n");
    rabbit.remove("shared").await.unwrap();
}

#[tokio::test]
async fn a_queue_removed_under_a_consumer_is_told() {
    let rabbit = connected().await;
    rabbit.declare("doomed").await.unwrap();
    let mut consumer = rabbit.consume("doomed", 1).await.unwrap();
    rabbit.remove("doomed").await.unwrap();
    let ended =
        timeout(PATIENCE, consumer.next()).await.expect("it waits for a queue that is gone");
    assert_eq!(failed(ended).code(), Code::BrokerQueue);
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_told_without_the_password() {
    let url = broker().await.url();
    let (_, address) = url.split_once('@').unwrap();
    let wrong = format!("amqp://mainstay:s3cret@{address}");
    for (url, code, part) in [
        ("amqp://u:s3cret@host:port".to_owned(), Code::BrokerUrl, "the port is not a number"),
        (
            "amqp://u:s3cret@127.0.0.1:1".to_owned(),
            Code::BrokerDown,
            "127.0.0.1:1 can't be reached",
        ),
        (wrong, Code::BrokerDown, "refuses the user"),
        (format!("{url}/s3cretless"), Code::BrokerDown, "refuses the virtual host"),
    ] {
        let error = failed(RabbitMq::connect(&url).await);
        assert_eq!(error.code(), code, "{error:?}");
        assert!(error.report().contains(part), "{error:?}");
        assert!(!format!("{error:?}").contains("s3cret@"), "{error:?}");
    }
}

/// RabbitMQ 3.10 writes down which quorum queues it has about half a second after one was declared, and
/// forgets one for good if it is killed before.
async fn settled() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// Takes everything from `queue` until `all` have been seen.
async fn drained(rabbit: &RabbitMq, queue: &str, all: usize) -> BTreeSet<String> {
    let mut consumer = rabbit.consume(queue, 500).await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < all {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.message.id.clone());
        delivery.receipt.ack().await.unwrap();
    }
    seen
}

#[tokio::test]
async fn a_broker_killed_in_the_middle_of_confirms_loses_nothing() {
    let server = Broker::rabbitmq().await;
    let rabbit = RabbitMq::connect(&server.url()).await.unwrap();
    rabbit.declare("ledger").await.unwrap();
    settled().await;
    let publisher = tokio::spawn({
        let rabbit = rabbit.clone();
        async move {
            let mut confirmed = 0;
            for batch in 0..40 {
                let messages: Vec<_> =
                    (0..500).map(|n| message(format!("{:05}", batch * 500 + n))).collect();
                // Published again by whoever sends, under the same ids, until it is confirmed.
                let mut left = messages;
                while !left.is_empty() {
                    let results = rabbit.publish("ledger", &left).await;
                    confirmed += results.iter().filter(|r| r.is_ok()).count();
                    let failed = left.into_iter().zip(results).filter(|(_, r)| r.is_err());
                    left = failed.map(|(message, _)| message).collect();
                }
            }
            confirmed
        }
    });
    // Killed while some are confirmed and some are not.
    while rabbit.depth("ledger").await.unwrap_or_default() < 2000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.kill().await;
    server.start().await;
    let confirmed = timeout(PATIENCE * 2, publisher).await.expect("it hangs").unwrap();
    assert_eq!(confirmed, 20_000);
    assert_eq!(drained(&rabbit, "ledger", 20_000).await.len(), 20_000);
}

#[tokio::test]
async fn a_consumer_goes_on_after_the_broker_was_restarted() {
    let server = Broker::rabbitmq().await;
    let rabbit = RabbitMq::connect(&server.url()).await.unwrap();
    rabbit.declare("restart").await.unwrap();
    settled().await;
    published(&rabbit, "restart", &[message("before"), message("held")]).await;
    let mut consumer = rabbit.consume("restart", 10).await.unwrap();
    next(&mut consumer).await.receipt.ack().await.unwrap();
    let held = next(&mut consumer).await;
    assert_eq!(held.message.id, "held");
    // AMQP confirms no acknowledgement: it is given the time to be written down.
    settled().await;
    server.kill().await;
    let waiting = tokio::spawn(async move {
        let delivery = next(&mut consumer).await;
        (consumer, delivery)
    });
    server.start().await;
    let (mut consumer, delivery) = waiting.await.unwrap();
    assert_eq!(delivery.message.id, "held");
    // Of a connection that is gone: it does nothing, and is no error.
    held.receipt.ack().await.unwrap();
    delivery.receipt.ack().await.unwrap();
    published(&rabbit, "restart", &[message("after")]).await;
    let after = next(&mut consumer).await;
    assert_eq!(after.message.id, "after");
    after.receipt.ack().await.unwrap();
    drop(consumer);
    depth(&rabbit, "restart", 0).await;
}

#[tokio::test]
async fn a_frozen_broker_is_noticed_and_gone_on_with() {
    let server = Broker::rabbitmq().await;
    let url = format!("{}?heartbeat=1", server.url());
    let rabbit = RabbitMq::connect(&url).await.unwrap();
    rabbit.declare("frozen").await.unwrap();
    published(&rabbit, "frozen", &[message("first")]).await;
    let mut consumer = rabbit.consume("frozen", 1).await.unwrap();
    let first = next(&mut consumer).await;
    server.freeze().await;
    let publishing = tokio::spawn({
        let rabbit = rabbit.clone();
        async move { rabbit.publish("frozen", &[message("second")]).await.remove(0) }
    });
    let error = failed(rabbit.depth("frozen").await);
    assert_eq!(error.code(), Code::BrokerDown);
    let error = failed(RabbitMq::connect(&url).await);
    assert_eq!(error.code(), Code::BrokerDown);
    server.thaw().await;
    publishing.await.unwrap().unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.message.id.clone());
        delivery.receipt.ack().await.unwrap();
    }
    first.receipt.ack().await.unwrap();
}

#[tokio::test]
async fn the_connections_are_closed_with_the_last_clone() {
    let server = Broker::rabbitmq().await;
    let rabbit = RabbitMq::connect(&server.url()).await.unwrap();
    rabbit.declare("last").await.unwrap();
    published(&rabbit, "last", &[message(1)]).await;
    let mut consumer = rabbit.consume("last", 1).await.unwrap();
    drop(rabbit);
    // A consumer is one of them.
    next(&mut consumer).await.receipt.ack().await.unwrap();
    // Established connections to this broker, as the kernel lists them.
    let port = server.url().rsplit_once(':').unwrap().1.trim_end_matches('/').parse().unwrap();
    let open = || connections_to(port);
    assert!(open() > 0);
    drop(consumer);
    let closed = async {
        while open() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("a connection was left open");
}

fn connections_to(port: u16) -> usize {
    let remote = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let connections = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    connections.filter(|fields| fields[2].ends_with(&remote) && fields[3] == "01").count()
}
