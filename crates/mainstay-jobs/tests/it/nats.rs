//! NATS JetStream as a broker, against a real server: what is confirmed is there, what is not
//! acknowledged comes again, and nothing of it is lost when the server is killed, restarted or frozen.

use std::sync::Arc;

use mainstay_core::Code;
use mainstay_jobs::broker::Broker as _;
use mainstay_jobs::broker::nats::Nats;
use mainstay_testkit::Broker;
use tokio::sync::OnceCell;

use crate::streams::{self, Shared, depth, failed, message, port, published, with_password};

/// The server of all tests that leave it alone.
async fn server() -> &'static Broker {
    static SERVER: OnceCell<Broker> = OnceCell::const_new();
    SERVER.get_or_init(Broker::nats).await
}

async fn connect(url: &str) -> Shared {
    Arc::new(Nats::connect(url).await.unwrap())
}

async fn connected() -> Shared {
    connect(&server().await.url()).await
}

#[tokio::test]
async fn a_published_message_is_delivered_as_it_was_and_is_gone_when_acknowledged() {
    streams::whole(&connected().await).await;
}

#[tokio::test]
async fn what_is_not_settled_comes_again_and_is_counted() {
    streams::again(&connected().await).await;
}

#[tokio::test]
async fn no_more_than_the_prefetch_is_under_way() {
    streams::few(&connected().await).await;
}

#[tokio::test]
async fn a_delayed_message_comes_when_it_is_time_and_the_others_before() {
    streams::delayed(&connected().await).await;
}

#[tokio::test]
async fn what_can_not_be_processed_goes_to_the_dead_letters_and_back() {
    streams::dead(&connected().await).await;
}

#[tokio::test]
async fn a_silent_consumer_is_robbed_and_one_that_keeps_is_not() {
    streams::kept(&connected().await).await;
}

#[tokio::test]
async fn what_waits_in_a_consumer_is_kept_and_given_back_with_it() {
    streams::waiting(&connected().await).await;
}

#[tokio::test]
async fn what_a_dead_process_held_comes_to_another() {
    let url = server().await.url();
    streams::gone(&connected().await, move || {
        let url = url.clone();
        async move { connect(&url).await }
    })
    .await;
}

#[tokio::test]
async fn a_message_without_a_queue_is_refused() {
    streams::nowhere(&connected().await).await;
}

#[tokio::test]
async fn a_queue_removed_under_a_consumer_is_told() {
    streams::removed(&connected().await).await;
}

#[tokio::test]
async fn of_many_publishers_and_consumers_each_message_is_delivered_once() {
    streams::many(&connected().await).await;
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_confirmations_loses_nothing() {
    let server = Broker::nats().await;
    let broker = connect(&server.url()).await;
    let disturb = async {
        server.kill().await;
        server.start().await;
    };
    streams::ledger(&broker, disturb).await;
}

#[tokio::test]
async fn a_consumer_goes_on_after_the_server_was_restarted() {
    let server = Broker::nats().await;
    let broker = connect(&server.url()).await;
    let restart = async {
        server.kill().await;
        server.start().await;
    };
    streams::restarted(&broker, restart).await;
}

#[tokio::test]
async fn a_frozen_server_is_noticed_and_gone_on_with() {
    let server = Broker::nats().await;
    let broker = connect(&server.url()).await;
    streams::frozen(&broker, async { server.freeze().await }, async { server.thaw().await }).await;
}

#[tokio::test]
async fn the_connections_are_closed_with_the_last_clone() {
    let server = Broker::nats().await;
    let broker = connect(&server.url()).await;
    streams::closed(broker, port(&server.url())).await;
}

#[tokio::test]
async fn a_connection_that_can_not_be_made_is_told_without_the_password() {
    let url = with_password(&server().await.url(), "wr0ng");
    let nobody = with_password("nats://u@127.0.0.1:1", "wr0ng");
    let malformed = with_password("nats://u@127.0.0.1:port", "wr0ng");
    for (url, code) in
        [(url, Code::BrokerDown), (nobody, Code::BrokerDown), (malformed, Code::BrokerUrl)]
    {
        let error = failed(Nats::connect(&url).await);
        assert_eq!(error.code(), code, "{error:?}");
        assert!(!error.report().contains("wr0ng"), "{error:?}");
    }
    let broker = Nats::connect(&server().await.url()).await.unwrap();
    let password = server().await.url();
    let password =
        password.split_once('@').and_then(|(login, _)| login.rsplit_once(':')).unwrap().1;
    let shown = format!("{} {broker:?}", broker.place());
    assert!(!shown.contains(password), "{shown}");
}

#[tokio::test]
async fn a_message_published_again_with_its_id_is_stored_once() {
    let broker = connected().await;
    broker.declare("twice").await.unwrap();
    published(&broker, "twice", &[message(1), message(2)]).await;
    published(&broker, "twice", &[message(1), message(3)]).await;
    depth(&broker, "twice", 3).await;
    broker.remove("twice").await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_big_is_refused_and_the_others_are_not() {
    let broker = connected().await;
    broker.declare("big").await.unwrap();
    let mut big = message("big");
    big.body = vec![0; 2 * 1024 * 1024];
    let mut results = broker.publish("big", &[message(1), big, message(2)]).await;
    let refused = results.remove(1);
    assert_eq!(failed(refused).code(), Code::BrokerRefused);
    for result in results {
        result.unwrap();
    }
    depth(&broker, "big", 2).await;
    broker.remove("big").await.unwrap();
}

#[tokio::test]
async fn a_stream_with_other_properties_is_told() {
    let url = server().await.url();
    let (login, _) = url.split_once("://").unwrap().1.rsplit_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let config = r#"{"name":"mainstay-other","subjects":["mainstay.queue.other"],"storage":"file","retention":"limits"}"#;
    let size = config.len();
    // As any other program would say it.
    let said = format!(
        "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"verbose\":false}}\r\n\
         SUB made 1\r\nPUB $JS.API.STREAM.CREATE.mainstay-other made {size}\r\n{config}\r\n"
    );
    streams::say(port(&url), &said, "stream_create_response").await;
    let broker = connected().await;
    let error = failed(broker.declare("other").await);
    assert_eq!(error.code(), Code::BrokerQueue);
    assert!(error.report().contains("another retention"), "{error:?}");
    broker.remove("other").await.unwrap();
    broker.declare("other").await.unwrap();
    broker.remove("other").await.unwrap();
}
