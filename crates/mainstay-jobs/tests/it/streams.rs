//! What NATS JetStream and Redis streams promise alike, as scenarios: `nats` and `redis` run them on
//! their servers. Each names its queues, and the servers are shared where they are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_jobs::broker::{Broker, Consumer, Delivery, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// Long enough for a slow machine; nothing waits for it that goes well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// After this long a consumer that says nothing has been taken for dead.
const LEASE: Duration = Duration::from_secs(6);

pub(crate) type Shared = Arc<dyn Broker>;

pub(crate) fn message(id: impl std::fmt::Display) -> Message {
    Message {
        id: id.to_string(),
        name: "order.created".into(),
        headers: BTreeMap::from([("tenant".into(), "7".into())]),
        body: br#"{"order":1}"#.to_vec(),
    }
}

pub(crate) async fn published(broker: &Shared, queue: &str, messages: &[Message]) {
    for result in broker.publish(queue, messages).await {
        result.unwrap();
    }
}

pub(crate) async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    timeout(PATIENCE, consumer.next()).await.expect("nothing was delivered").unwrap()
}

/// Whatever comes within `time`.
async fn within(time: Duration, consumer: &mut Box<dyn Consumer>) -> Option<Delivery> {
    timeout(time, consumer.next()).await.ok().map(Result::unwrap)
}

/// Waits until `queue` has `expected` messages that wait.
pub(crate) async fn depth(broker: &Shared, queue: &str, expected: u64) {
    let reached = async {
        while broker.depth(queue).await.unwrap() != expected {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "`{queue}` has {:?}, not {expected}", broker.depth(queue).await);
}

/// The error of a call that must fail.
pub(crate) fn failed<T>(result: Result<T, Error>) -> Error {
    result.err().expect("it went well")
}

/// Takes everything from `queue` until `all` have been seen.
async fn drained(broker: &Shared, queue: &str, all: usize) -> BTreeSet<String> {
    let mut consumer = broker.consume(queue, 500).await.unwrap();
    let mut seen = BTreeSet::new();
    let mut acks = tokio::task::JoinSet::new();
    while seen.len() < all {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.message.id.clone());
        acks.spawn(delivery.receipt.ack());
    }
    for ack in acks.join_all().await {
        ack.unwrap();
    }
    seen
}

/// A message comes as it was, and is gone when acknowledged.
pub(crate) async fn whole(broker: &Shared) {
    broker.declare("whole").await.unwrap();
    broker.declare("whole").await.unwrap();
    let mut sent = message("0190");
    for (name, value) in [("trace", "é\r\n x"), ("odd name:", ""), ("Case", " padded ")] {
        sent.headers.insert(name.into(), value.into());
    }
    sent.body = (0..300_000).map(|n| (n % 256) as u8).collect();
    published(broker, "whole", &[sent.clone(), Message::default()]).await;
    depth(broker, "whole", 2).await;

    let mut consumer = broker.consume("whole", 10).await.unwrap();
    for expected in [sent, Message::default()] {
        let delivery = next(&mut consumer).await;
        assert_eq!((&delivery.message, delivery.deliveries), (&expected, 1));
        delivery.receipt.keep().await.unwrap();
        delivery.receipt.ack().await.unwrap();
    }
    assert!(within(LEASE, &mut consumer).await.is_none());
    drop(consumer);
    depth(broker, "whole", 0).await;
    broker.remove("whole").await.unwrap();
    broker.remove("whole").await.unwrap();
    assert_eq!(failed(broker.depth("whole").await).code(), Code::BrokerQueue);
    assert_eq!(failed(broker.dead("whole", 1).await).code(), Code::BrokerQueue);
}

/// What is not settled comes again, and is counted.
pub(crate) async fn again(broker: &Shared) {
    broker.declare("again").await.unwrap();
    published(broker, "again", &[message(1)]).await;
    let mut consumer = broker.consume("again", 1).await.unwrap();
    // Dropped, given back, and with its consumer gone.
    drop(next(&mut consumer).await);
    let second = next(&mut consumer).await;
    assert_eq!(second.deliveries, 2);
    second.receipt.again(Duration::ZERO).await.unwrap();
    let third = next(&mut consumer).await;
    assert_eq!(third.deliveries, 3);
    drop(consumer);
    let mut consumer = broker.consume("again", 1).await.unwrap();
    let fourth = next(&mut consumer).await;
    assert_eq!((fourth.deliveries, fourth.message.id.as_str()), (4, "1"));
    // The third's consumer is gone: its receipt must not settle what the fourth has.
    third.receipt.ack().await.unwrap();
    drop(fourth);
    let fifth = next(&mut consumer).await;
    fifth.receipt.ack().await.unwrap();
    assert!(within(LEASE, &mut consumer).await.is_none());
    broker.remove("again").await.unwrap();
}

/// No more than the prefetch is under way.
pub(crate) async fn few(broker: &Shared) {
    broker.declare("few").await.unwrap();
    let messages: Vec<_> = (0..10).map(message).collect();
    published(broker, "few", &messages).await;
    let mut consumer = broker.consume("few", 3).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut consumer).await);
    }
    depth(broker, "few", 7).await;
    assert!(within(Duration::from_millis(500), &mut consumer).await.is_none());
    held.remove(0).receipt.ack().await.unwrap();
    held.push(next(&mut consumer).await);
    depth(broker, "few", 6).await;
    broker.remove("few").await.unwrap();
}

/// Not before its time.
pub(crate) async fn delayed(broker: &Shared) {
    broker.declare("delayed").await.unwrap();
    published(broker, "delayed", &[message("later"), message("now")]).await;
    let mut consumer = broker.consume("delayed", 1).await.unwrap();
    let clock = Clock::system();
    let began = clock.now();
    let delay = Duration::from_secs(2);
    let early = Duration::from_millis(1990);
    // Several, as a poison message would: one of prefetch 1 does not stop the others.
    next(&mut consumer).await.receipt.again(delay).await.unwrap();
    let now = next(&mut consumer).await;
    assert_eq!((now.message.id.as_str(), now.deliveries), ("now", 1));
    now.receipt.ack().await.unwrap();
    let later = next(&mut consumer).await;
    assert_eq!((&later.message, later.deliveries), (&message("later"), 2));
    assert!(clock.now() - began >= early, "it came early");
    later.receipt.ack().await.unwrap();
    depth(broker, "delayed", 0).await;
    broker.remove("delayed").await.unwrap();
}

/// To the dead letters and back.
pub(crate) async fn dead(broker: &Shared) {
    broker.declare("dead").await.unwrap();
    let messages: Vec<_> = (0..5).map(message).collect();
    published(broker, "dead", &messages).await;
    let mut consumer = broker.consume("dead", 10).await.unwrap();
    for _ in 0..5 {
        let delivery = next(&mut consumer).await;
        delivery.receipt.dead("no such user".into()).await.unwrap();
    }
    depth(broker, "dead", 0).await;
    let letters = broker.dead("dead", 3).await.unwrap();
    let ids: Vec<_> = letters.iter().map(|letter| letter.id.as_str()).collect();
    assert_eq!(ids, ["0", "1", "2"]);
    assert_eq!(letters[0].headers["mainstay-reason"], "no such user");
    assert_eq!(letters[0].headers["tenant"], "7");

    assert_eq!(broker.requeue_dead("dead", 2).await.unwrap(), 2);
    for expected in &messages[..2] {
        let delivery = next(&mut consumer).await;
        assert_eq!((&delivery.message, delivery.deliveries), (expected, 1));
        // It dies again, within the time in which the server knows the ids of what it has seen.
        delivery.receipt.dead("still none".into()).await.unwrap();
    }
    assert_eq!(broker.dead("dead", 100).await.unwrap().len(), 5);
    assert_eq!(broker.requeue_dead("dead", 100).await.unwrap(), 5);
    assert_eq!(broker.requeue_dead("dead", 100).await.unwrap(), 0);
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.message.id.clone());
        delivery.receipt.ack().await.unwrap();
    }
    assert_eq!(seen.len(), 5);
    assert!(broker.dead("dead", 100).await.unwrap().is_empty());
    broker.remove("dead").await.unwrap();
}

/// A silent consumer is robbed, and one that keeps is not.
pub(crate) async fn kept(broker: &Shared) {
    broker.declare("kept").await.unwrap();
    published(broker, "kept", &[message("kept"), message("silent")]).await;
    let mut slow = broker.consume("kept", 2).await.unwrap();
    let kept = next(&mut slow).await;
    let silent = next(&mut slow).await;
    let mut other = broker.consume("kept", 2).await.unwrap();
    let keeping = async {
        loop {
            kept.receipt.keep().await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    };
    let robbed = async {
        let robbed = next(&mut other).await;
        assert_eq!((robbed.message.id.as_str(), robbed.deliveries), ("silent", 2));
        // The receipt of before must not touch it, in whatever way.
        silent.receipt.again(Duration::ZERO).await.unwrap();
        robbed.receipt.ack().await.unwrap();
        assert!(within(LEASE, &mut other).await.is_none(), "a living one was robbed");
    };
    tokio::select! {
        () = keeping => {}
        () = robbed => {}
    }
    kept.receipt.ack().await.unwrap();
    drop((slow, other));
    depth(broker, "kept", 0).await;
    broker.remove("kept").await.unwrap();
}

/// What waits in a consumer is kept by it.
pub(crate) async fn waiting(broker: &Shared) {
    broker.declare("waiting").await.unwrap();
    let messages: Vec<_> = (0..20).map(message).collect();
    published(broker, "waiting", &messages).await;
    let mut slow = broker.consume("waiting", 20).await.unwrap();
    next(&mut slow).await.receipt.ack().await.unwrap();
    depth(broker, "waiting", 0).await;
    let mut other = broker.consume("waiting", 20).await.unwrap();
    assert!(within(LEASE, &mut other).await.is_none(), "what waited was taken away");
    for _ in 1..20 {
        let delivery = next(&mut slow).await;
        assert_eq!(delivery.deliveries, 1);
        delivery.receipt.ack().await.unwrap();
    }
    // Gone, it gives back at once what it has not handed out.
    published(broker, "waiting", &[message("last")]).await;
    drop(slow);
    let last = next(&mut other).await;
    last.receipt.ack().await.unwrap();
    broker.remove("waiting").await.unwrap();
}

/// What a process held that is gone without a word comes to another within 5 s.
pub(crate) async fn gone<F, Made>(broker: &Shared, connect: F)
where
    F: Fn() -> Made + Send + 'static,
    Made: Future<Output = Shared>,
{
    broker.declare("gone").await.unwrap();
    published(broker, "gone", &[message("held"), message("waiting")]).await;
    let process = move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let broker = connect().await;
            let mut consumer = broker.consume("gone", 10).await.unwrap();
            let held = next(&mut consumer).await;
            depth(&broker, "gone", 0).await;
            held.receipt.keep().await.unwrap();
            // No destructor speaks for them, as if it was killed.
            std::mem::forget((broker, consumer, held));
        });
        runtime.shutdown_background();
    };
    tokio::task::spawn_blocking(process).await.unwrap();
    let clock = Clock::system();
    let began = clock.now();
    let mut consumer = broker.consume("gone", 10).await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.deliveries, 2);
        seen.insert(delivery.message.id.clone());
        delivery.receipt.ack().await.unwrap();
    }
    println!("noticed after {:?}", clock.now() - began);
    broker.remove("gone").await.unwrap();
}

/// A message without a queue is refused.
pub(crate) async fn nowhere(broker: &Shared) {
    for queue in ["nowhere", "no name", ""] {
        for result in broker.publish(queue, &[message(1), message(2)]).await {
            let error = failed(result);
            assert_eq!(error.code(), Code::BrokerRefused, "{error:?}");
        }
    }
    assert_eq!(failed(broker.declare("no name").await).code(), Code::BrokerQueue);
    assert!(broker.publish("nowhere", &[]).await.is_empty());
}

/// A queue that is removed under a consumer is told.
pub(crate) async fn removed(broker: &Shared) {
    broker.declare("removed").await.unwrap();
    let mut consumer = broker.consume("removed", 1).await.unwrap();
    assert!(within(Duration::from_millis(300), &mut consumer).await.is_none());
    broker.remove("removed").await.unwrap();
    for _ in 0..2 {
        let error = timeout(PATIENCE, consumer.next()).await.expect("it waits for ever");
        assert_eq!(failed(error).code(), Code::BrokerQueue);
    }
}

/// Many publish and consume at once, and each message is delivered once.
pub(crate) async fn many(broker: &Shared) {
    broker.declare("many").await.unwrap();
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..8 {
        let broker = Arc::clone(broker);
        publishers.spawn(async move {
            let name = |n| message(format!("{publisher}-{n}"));
            let messages: Vec<_> = (0..2000).map(name).collect();
            published(&broker, "many", &messages).await;
        });
    }
    let consume = async || {
        let mut consumer = broker.consume("many", 200).await.unwrap();
        let mut acks = tokio::task::JoinSet::new();
        let mut ids = Vec::new();
        while let Some(delivery) = within(Duration::from_secs(3), &mut consumer).await {
            ids.push(delivery.message.id);
            acks.spawn(delivery.receipt.ack());
        }
        for ack in acks.join_all().await {
            ack.unwrap();
        }
        ids
    };
    let (a, b, c) = tokio::join!(consume(), consume(), consume());
    publishers.join_all().await;
    let all: Vec<_> = [a, b, c].concat();
    assert_eq!(all.len(), 16_000);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 16_000);
    broker.remove("many").await.unwrap();
}

/// Publishes until 20,000 are confirmed, while `disturb` does something to the server.
pub(crate) async fn ledger(broker: &Shared, disturb: impl Future<Output = ()>) {
    broker.declare("ledger").await.unwrap();
    let publisher = tokio::spawn({
        let broker = Arc::clone(broker);
        async move {
            let mut confirmed = 0;
            for batch in 0..40 {
                let name = |n| message(format!("{:05}", batch * 500 + n));
                let mut left: Vec<_> = (0..500).map(name).collect();
                while !left.is_empty() {
                    let results = broker.publish("ledger", &left).await;
                    confirmed += results.iter().filter(|r| r.is_ok()).count();
                    let failed = left.into_iter().zip(results).filter(|(_, r)| r.is_err());
                    left = failed.map(|(message, _)| message).collect();
                }
            }
            confirmed
        }
    });
    // Disturbed while some are confirmed and some are not.
    while broker.depth("ledger").await.unwrap_or_default() < 2000 {
        sleep(Duration::from_millis(5)).await;
    }
    disturb.await;
    let confirmed = timeout(PATIENCE * 2, publisher).await.expect("it hangs").unwrap();
    assert_eq!(confirmed, 20_000);
    assert_eq!(drained(broker, "ledger", 20_000).await.len(), 20_000);
}

/// A consumer goes on after the server was restarted.
pub(crate) async fn restarted(broker: &Shared, restart: impl Future<Output = ()>) {
    broker.declare("restart").await.unwrap();
    published(broker, "restart", &[message("before"), message("held")]).await;
    let mut consumer = broker.consume("restart", 10).await.unwrap();
    next(&mut consumer).await.receipt.ack().await.unwrap();
    let held = next(&mut consumer).await;
    assert_eq!(held.message.id, "held");
    restart.await;
    published(broker, "restart", &[message("after")]).await;
    let mut seen = BTreeSet::new();
    while !seen.contains("after") {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.message.id.clone());
        delivery.receipt.ack().await.unwrap();
    }
    // Settled, or come again meanwhile: it is no error.
    held.receipt.ack().await.unwrap();
    depth(broker, "restart", 0).await;
}

/// A server that is frozen is noticed, and gone on with.
pub(crate) async fn frozen(
    broker: &Shared,
    freeze: impl Future<Output = ()>,
    thaw: impl Future<Output = ()>,
) {
    broker.declare("frozen").await.unwrap();
    published(broker, "frozen", &[message("first")]).await;
    let mut consumer = broker.consume("frozen", 1).await.unwrap();
    let first = next(&mut consumer).await;
    freeze.await;
    let publishing = tokio::spawn({
        let broker = Arc::clone(broker);
        async move { broker.publish("frozen", &[message("second")]).await.remove(0) }
    });
    // A process is stopped a moment after it was told.
    let error = loop {
        if let Err(error) = broker.depth("frozen").await {
            break error;
        }
    };
    assert_eq!(error.code(), Code::BrokerDown);
    thaw.await;
    publishing.await.unwrap().unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.message.id.clone());
        delivery.receipt.ack().await.unwrap();
    }
    first.receipt.ack().await.unwrap();
}

/// Nothing of it is left when the last of `broker` and its consumers is dropped.
pub(crate) async fn closed(broker: Shared, port: u16) {
    broker.declare("last").await.unwrap();
    published(&broker, "last", &[message(1)]).await;
    let mut consumer = broker.consume("last", 1).await.unwrap();
    drop(broker);
    // A consumer is one of them.
    next(&mut consumer).await.receipt.ack().await.unwrap();
    assert!(connections_to(port) > 0);
    drop(consumer);
    let closed = async {
        while connections_to(port) > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("a connection was left open");
}

/// Established connections to `port`, as the kernel lists them.
fn connections_to(port: u16) -> usize {
    let remote = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let connections = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    connections.filter(|fields| fields[2].ends_with(&remote) && fields[3] == "01").count()
}

/// The port in a server's URL.
pub(crate) fn port(url: &str) -> u16 {
    let after = url.rsplit_once(':').unwrap().1;
    after.split(['/', '?']).next().unwrap().parse().unwrap()
}

/// `url` with another password.
pub(crate) fn with_password(url: &str, password: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (login, host) = rest.rsplit_once('@').unwrap_or(("user:", rest));
    let user = login.split_once(':').map_or(login, |(user, _)| user);
    format!("{scheme}://{user}:{password}@{host}")
}

/// Says `text` to the server at `port`, as it is, and waits until it has answered with `answer`.
pub(crate) async fn say(port: u16, text: &str, answer: &str) {
    let talk = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(answer) {
            let read = stream.read_buf(&mut heard).await.unwrap();
            assert!(read > 0, "it said {}", String::from_utf8_lossy(&heard));
        }
    };
    timeout(PATIENCE, talk).await.expect("it does not answer");
}
