//! RabbitMQ: publishing with confirms and consuming with acknowledgements, beside bare lapin; and BullMQ on
//! Redis beside our queue that Redis carries.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use mainstay::clock::Clock;
use mainstay::jobs::broker::rabbitmq::RabbitMq;
use mainstay::jobs::broker::{Broker, Message};

use crate::report::{Better, Case, median};
use crate::servers::address;

use super::peers;

const COUNT: usize = 20_000;
const BATCH: usize = 1_000;
const PREFETCH: u16 = 300;
const ROUNDS: usize = 5;
const COUNT_BULLMQ: usize = 50_000;
const ROUNDS_BULLMQ: usize = 3;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = rabbitmq().await;
    let (mut ours, mut bullmq) = (vec![], vec![]);
    for _ in 0..ROUNDS_BULLMQ {
        ours.push(redis().await);
        bullmq.extend(peers::bullmq(&address("redis"), COUNT_BULLMQ).await);
    }
    let name = "50,000 jobs that do nothing, PostgreSQL carried by Redis";
    let case = Case::new(name, "jobs/s", Better::Higher, median(ours));
    cases.push(peers::best(case, [("BullMQ", bullmq)]));
    cases
}

async fn rabbitmq() -> Vec<Case> {
    let url = address("rabbitmq");
    let (mut published, mut consumed) = (vec![], vec![]);
    let (mut bare_published, mut bare_consumed) = (vec![], vec![]);
    for round in 0..ROUNDS {
        // Each is the first as often as the other, but for one round.
        let is_first = round.is_multiple_of(2);
        for is_ours in [is_first, !is_first] {
            if is_ours {
                let (publish, consume) = ours(&url, &format!("ours-{round}")).await;
                published.push(publish);
                consumed.push(consume);
            } else {
                let (publish, consume) = bare(&url, &format!("bare-{round}")).await;
                bare_published.push(publish);
                bare_consumed.push(consume);
            }
        }
    }
    let case = |name, ours, bare| {
        Case::new(name, "ms", Better::Lower, median(ours)).peer("lapin", median(bare))
    };
    vec![
        case("20,000 published with confirms, RabbitMQ", published, bare_published),
        case("20,000 consumed with acks, RabbitMQ", consumed, bare_consumed),
    ]
}

fn messages() -> Vec<Message> {
    let message = |n: usize| Message {
        id: n.to_string(),
        name: "noop".to_owned(),
        body: vec![b'x'; 200],
        ..Message::default()
    };
    (0..BATCH).map(message).collect()
}

fn ms(begun: Instant) -> f64 {
    Clock::system().now().saturating_duration_since(begun).as_secs_f64() * 1e3
}

/// Milliseconds to publish and to consume. A first message comes before each clock, so that there is a
/// connection, and a consumer with its prefetch on the way; the second clock stops when the last
/// acknowledgement was sent. [`bare`] does the same.
async fn ours(url: &str, queue: &str) -> (f64, f64) {
    let rabbit = RabbitMq::connect(url).await.expect("RabbitMQ");
    rabbit.remove(queue).await.expect("nothing is left of another run");
    rabbit.declare(queue).await.expect("a queue");
    let batch = messages();
    for confirmed in rabbit.publish(queue, &batch[..1]).await {
        confirmed.expect("confirmed");
    }
    let begun = Clock::system().now();
    for _ in 0..COUNT / BATCH {
        for confirmed in rabbit.publish(queue, &batch).await {
            confirmed.expect("confirmed");
        }
    }
    let published = ms(begun);
    let mut consumer = rabbit.consume(queue, PREFETCH).await.expect("a consumer");
    consumer.next().await.expect("a message").receipt.ack().await.expect("acknowledged");
    let begun = Clock::system().now();
    for _ in 0..COUNT {
        let delivery = consumer.next().await.expect("a message");
        delivery.receipt.ack().await.expect("acknowledged");
    }
    let consumed = ms(begun);
    drop(consumer);
    rabbit.remove(queue).await.expect("removed");
    (published, consumed)
}

async fn bare(url: &str, queue: &str) -> (f64, f64) {
    let connection =
        Connection::connect(url, ConnectionProperties::default()).await.expect("RabbitMQ");
    let channel = connection.create_channel().await.expect("a channel");
    declare(&channel, queue).await;
    publish(&channel, queue, 1).await;
    let begun = Clock::system().now();
    for _ in 0..COUNT / BATCH {
        publish(&channel, queue, BATCH).await;
    }
    let published = ms(begun);
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.expect("a prefetch");
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(queue.into(), "c".into(), options, FieldTable::default());
    let mut consumer = consumer.await.expect("a consumer");
    let first = consumer.next().await.expect("a message").expect("a message");
    first.ack(BasicAckOptions::default()).await.expect("acknowledged");
    let begun = Clock::system().now();
    for _ in 0..COUNT {
        let delivery = consumer.next().await.expect("a message").expect("a message");
        delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
    }
    let consumed = ms(begun);
    let options = QueueDeleteOptions::default();
    channel.queue_delete(queue.into(), options).await.expect("removed");
    let _ = connection.close(200, "done".into()).await;
    (published, consumed)
}

async fn declare(channel: &Channel, queue: &str) {
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let options = QueueDeleteOptions::default();
    channel.queue_delete(queue.into(), options).await.expect("nothing is left of another run");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, arguments).await.expect("a queue");
}

/// Sends `count`, then waits for their confirms.
async fn publish(channel: &Channel, queue: &str, count: usize) {
    let (body, properties) = (vec![b'x'; 200], BasicProperties::default().with_delivery_mode(2));
    let mut confirms = Vec::with_capacity(count);
    for _ in 0..count {
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish("".into(), queue.into(), options, &body, properties.clone());
        confirms.push(sent.await.expect("sent"));
    }
    for confirm in confirms {
        confirm.await.expect("confirmed");
    }
}

/// Our whole way: claimed from PostgreSQL, carried by Redis, completed in PostgreSQL.
async fn redis() -> f64 {
    use mainstay::jobs::broker::redis::Redis;
    use mainstay::jobs::{Context, Queue, Worker};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let database = crate::servers::fresh(crate::servers::Engine::Postgres).await;
    let db = super::worker::open(&database.url).await;
    super::worker::fill(&db, COUNT_BULLMQ, 500).await;
    let broker = Redis::connect(&address("redis")).await.expect("Redis");
    let done = Arc::new(AtomicUsize::new(0));
    let begun = Clock::system().now();
    let worker = Worker::builder(&db, Arc::clone(&done))
        .concurrency(100)
        .queue(Queue::new("default").via(broker))
        .handle(|_: super::worker::Noop, ctx: Context<Arc<AtomicUsize>>| async move {
            ctx.state().fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .start()
        .await
        .expect("a worker");
    let rate = super::worker::rate(&db, begun, &done, COUNT_BULLMQ).await;
    let _ = worker.drain(Duration::from_secs(30)).await;
    rate
}
