//! Redis streams as a broker, against a real server that writes each command to its file: what was
//! answered is there, what is not acknowledged comes again, and nothing of it is lost when the server is
//! killed, restarted or frozen.

use std::sync::Arc;

use mainstay_core::Code;
use mainstay_jobs::broker::Broker as _;
use mainstay_jobs::broker::redis::Redis;
use mainstay_testkit::Broker;
use tokio::sync::OnceCell;

use crate::streams::{self, Shared, failed, port, with_password};

/// The server of all tests that leave it alone.
async fn server() -> &'static Broker {
    static SERVER: OnceCell<Broker> = OnceCell::const_new();
    SERVER.get_or_init(Broker::redis).await
}

async fn connect(url: &str) -> Shared {
    Arc::new(Redis::connect(url).await.unwrap())
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
    let server = Broker::redis().await;
    let broker = connect(&server.url()).await;
    let disturb = async {
        server.kill().await;
        server.start().await;
    };
    streams::ledger(&broker, disturb).await;
}

#[tokio::test]
async fn a_consumer_goes_on_after_the_server_was_restarted() {
    let server = Broker::redis().await;
    let broker = connect(&server.url()).await;
    let restart = async {
        server.kill().await;
        server.start().await;
    };
    streams::restarted(&broker, restart).await;
}

#[tokio::test]
async fn a_frozen_server_is_noticed_and_gone_on_with() {
    let server = Broker::redis().await;
    let broker = connect(&server.url()).await;
    streams::frozen(&broker, async { server.freeze().await }, async { server.thaw().await }).await;
}

#[tokio::test]
async fn the_connections_are_closed_with_the_last_clone() {
    let server = Broker::redis().await;
    let broker = connect(&server.url()).await;
    streams::closed(broker, port(&server.url())).await;
}

#[tokio::test]
async fn a_connection_that_can_not_be_made_is_told_without_the_password() {
    let url = with_password(&server().await.url(), "wr0ng");
    let nobody = with_password("redis://u@127.0.0.1:1", "wr0ng");
    let malformed = with_password("redis://u@127.0.0.1:port", "wr0ng");
    for (url, code) in
        [(url, Code::BrokerDown), (nobody, Code::BrokerDown), (malformed, Code::BrokerUrl)]
    {
        let error = failed(Redis::connect(&url).await);
        assert_eq!(error.code(), code, "{error:?}");
        assert!(!error.report().contains("wr0ng"), "{error:?}");
    }
    let broker = Redis::connect(&server().await.url()).await.unwrap();
    let password = server().await.url();
    let password =
        password.split_once('@').and_then(|(login, _)| login.rsplit_once(':')).unwrap().1;
    let shown = format!("{} {broker:?}", broker.place());
    assert!(!shown.contains(password), "{shown}");
}

#[tokio::test]
async fn a_key_that_holds_something_else_is_told() {
    let url = server().await.url();
    let password = url.rsplit_once('@').unwrap().0.rsplit_once(':').unwrap().1;
    // As any other program would say it.
    let said = format!("AUTH {password}\r\nSET {{mainstay:other}} x\r\nECHO done\r\n");
    streams::say(port(&url), &said, "done").await;
    let broker = connected().await;
    let error = failed(broker.declare("other").await);
    assert_eq!(error.code(), Code::BrokerQueue, "{error:?}");
    for result in broker.publish("other", &[streams::message(1)]).await {
        assert_eq!(failed(result).code(), Code::BrokerRefused);
    }
    broker.remove("other").await.unwrap();
    broker.declare("other").await.unwrap();
    broker.remove("other").await.unwrap();
}

#[tokio::test]
async fn the_entry_of_another_program_is_read_and_buried_as_it_is() {
    let url = server().await.url();
    let password = url.rsplit_once('@').unwrap().0.rsplit_once(':').unwrap().1;
    let broker = connected().await;
    broker.declare("strange").await.unwrap();
    let said = format!(
        "AUTH {password}\r\nXADD {{mainstay:strange}} * kind order body 42\r\nECHO done\r\n"
    );
    streams::say(port(&url), &said, "done").await;
    let mut consumer = broker.consume("strange", 1).await.unwrap();
    let delivery = streams::next(&mut consumer).await;
    assert_eq!(delivery.message.headers["kind"], "order");
    assert_eq!(delivery.message.body, b"42");
    delivery.receipt.dead("who are you".into()).await.unwrap();
    let letter = broker.dead("strange", 1).await.unwrap().remove(0);
    assert_eq!(letter.headers["kind"], "order");
    assert_eq!(letter.headers["mainstay-reason"], "who are you");
    broker.remove("strange").await.unwrap();
}
