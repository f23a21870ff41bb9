//! What holds on every engine.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::scope::{Kind, Scope};
use mainstay_db::Engine;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::shop::{Here, Shop, layer, on_every_engine, until};

on_every_engine!(
    a_duplicate_gets_the_stored_answer,
    a_key_is_its_clients_own,
    another_payload_is_refused,
    two_hundred_duplicates_at_once_have_one_effect,
    a_duplicate_in_flight_is_told_so_at_once,
    a_client_that_disconnects_changes_nothing,
    what_rolled_back_runs_again,
    a_conflict_runs_again_at_once,
    what_panicked_runs_again,
    a_refusal_that_commits_is_stored,
    an_answer_that_is_too_large_rolls_back,
    work_ends_at_its_deadline_without_its_client,
    a_key_that_is_over_is_as_good_as_new,
    keys_that_are_over_are_cleaned_away,
    installing_at_once_is_fine,
);

async fn sleep_ms(ms: u64) {
    Clock::system().sleep(Duration::from_millis(ms)).await;
}

async fn a_duplicate_gets_the_stored_answer(here: &Here) {
    let shop = here.shop();
    let first = shop.post("\"k-1\"", "tea").await;
    assert_eq!((first.status.as_u16(), first.text.as_str()), (201, "order 1"));
    assert_eq!(first.header("set-cookie"), "secret=1");
    assert_eq!(first.header("idempotency-replayed"), "");
    // Also from another process, and without the quotes.
    for (shop, key) in [(&shop, "\"k-1\""), (&shop, "k-1"), (&here.another().await, "k-1")] {
        let again = shop.post(key, "tea").await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (201, "order 1"));
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.header("location"), "/orders/1");
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!(again.header("set-cookie"), "", "it would lie in the table");
    }
    assert_eq!((shop.seen.calls(), here.effects().await), (1, 1));
    assert_eq!(here.count("mainstay_outbox").await, 1, "published with the effect");
    assert_eq!(shop.post("k-2", "tea").await.text, "order 2");
}

async fn a_key_is_its_clients_own(here: &Here) {
    let shop = here.shop();
    let post = async |headers: &[(&str, &str)]| {
        let mut all = vec![("idempotency-key", "k")];
        all.extend_from_slice(headers);
        shop.ask("POST /orders", &all, "tea").await.text
    };
    assert_eq!(post(&[("x-api-key", "one")]).await, "order 1");
    assert_eq!(post(&[("x-api-key", "two")]).await, "order 2");
    assert_eq!(post(&[("x-api-key", "one"), ("peer", "192.0.2.9:1")]).await, "order 1");
    // Without one, the address is the client.
    assert_eq!(post(&[]).await, "order 3");
    assert_eq!(post(&[("peer", "192.0.2.9:1")]).await, "order 4");
    assert_eq!(post(&[("peer", "192.0.2.9:7")]).await, "order 4");
}

async fn another_payload_is_refused(here: &Here) {
    let shop = here.shop();
    let headers = [("idempotency-key", "k"), ("x-api-key", "one")];
    assert_eq!(shop.ask("POST /of/ada/orders?a=1", &headers, "tea").await.status, 201);
    for (line, body) in [
        ("POST /of/ada/orders?a=1", "coffee"),
        ("POST /of/ada/orders?a=2", "tea"),
        ("POST /of/ada/orders", "tea"),
        ("POST /of/bob/orders?a=1", "tea"),
        ("PUT /of/ada/orders?a=1", "tea"),
        ("POST /orders?a=1", "tea"),
    ] {
        let answer = shop.ask(line, &headers, body).await;
        assert_eq!(answer.status, 422, "{line} {body}");
        assert_eq!(answer.json()["code"], "HTTP-023");
    }
    assert_eq!(shop.ask("POST /of/ada/orders?a=1", &headers, "tea").await.text, "order 1");
    assert_eq!(here.effects().await, 1);
}

async fn two_hundred_duplicates_at_once_have_one_effect(here: &Here) {
    let shops = [here.shop(), here.another().await];
    let clients: Vec<_> = (0..200)
        .map(|n| {
            let shop = shops[n % 2].clone();
            tokio::spawn(async move { shop.post_until_done("k", "tea").await })
        })
        .collect();
    let mut first = 0;
    for client in clients {
        let answer = client.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (201, "order 1"));
        first += usize::from(answer.header("idempotency-replayed").is_empty());
    }
    let calls: usize = shops.iter().map(|shop| shop.seen.calls()).sum();
    assert_eq!((first, calls, here.effects().await), (1, 1, 1));
    assert_eq!(here.count("mainstay_outbox").await, 1);
}

async fn a_duplicate_in_flight_is_told_so_at_once(here: &Here) {
    let shop = here.shop();
    let first = tokio::spawn({
        let shop = shop.clone();
        async move { shop.post("k", "slow").await }
    });
    until("it works", async || shop.seen.calls() == 1).await;
    let mut others = vec![shop.clone()];
    if here.db.engine() != Engine::Sqlite {
        // There a writer of another process waits for this one, whatever it writes.
        others.push(here.another().await);
    }
    for other in &others {
        let answer = other.post("k", "slow").await;
        assert_eq!(answer.status, 409);
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(answer.json()["code"], "HTTP-022");
    }
    shop.gate.add_permits(1);
    assert_eq!(first.await.unwrap().text, "order 1");
    for other in &others {
        let answer = other.post("k", "slow").await;
        assert_eq!(
            (answer.text.as_str(), &*answer.header("idempotency-replayed")),
            ("order 1", "true")
        );
    }
    assert_eq!(here.effects().await, 1);
}

async fn a_client_that_disconnects_changes_nothing(here: &Here) {
    let shop = here.shop();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let app = shop.app.clone().into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let head =
        "POST /orders HTTP/1.1\r\nhost: here\r\nidempotency-key: \"k\"\r\nx-api-key: one\r\n";
    // In the middle of the body: nothing was done.
    let mut client = TcpStream::connect(at).await.unwrap();
    client.write_all(format!("{head}content-length: 9\r\n\r\nslo").as_bytes()).await.unwrap();
    sleep_ms(50).await;
    drop(client);
    // In the middle of the work: the handler is dropped, and the work goes on.
    let mut client = TcpStream::connect(at).await.unwrap();
    client.write_all(format!("{head}content-length: 4\r\n\r\nslow").as_bytes()).await.unwrap();
    until("it works", async || shop.seen.calls() == 1).await;
    drop(client);
    until("its handler is dropped", async || shop.seen.gone.load(Ordering::SeqCst) == 1).await;
    assert_eq!(shop.post("k", "slow").await.status, 409);
    shop.gate.add_permits(1);
    let again = shop.post_until_done("k", "slow").await;
    assert_eq!((again.text.as_str(), &*again.header("idempotency-replayed")), ("order 1", "true"));
    assert_eq!((shop.seen.calls(), here.effects().await), (1, 1));
    server.abort();
}

async fn what_rolled_back_runs_again(here: &Here) {
    let shop = here.shop();
    let refused = shop.post("k", "refused").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["title"]), (409, &"Out of stock".into()));
    assert_eq!((here.effects().await, here.count("mainstay_idempotency").await), (0, 0));
    // Nothing was stored, so it may be another request too.
    let done = shop.post("k", "tea").await;
    assert_eq!((done.text.as_str(), &*done.header("idempotency-replayed")), ("order 2", ""));
    assert_eq!((here.effects().await, here.count("mainstay_outbox").await), (1, 1));
}

async fn a_conflict_runs_again_at_once(here: &Here) {
    let shop = here.shop();
    for replayed in ["", "true"] {
        let answer = shop.post("k", "conflicts").await;
        let told = (answer.text.as_str(), &*answer.header("idempotency-replayed"));
        assert_eq!(told, ("order 2", replayed));
    }
    assert_eq!((shop.seen.calls(), here.effects().await), (2, 1));
}

async fn what_panicked_runs_again(here: &Here) {
    let shop = here.shop();
    let panics = tokio::spawn({
        let shop = shop.clone();
        async move { shop.post("k", "panics").await }
    });
    assert!(panics.await.unwrap_err().is_panic());
    assert_eq!(shop.post_until_done("k", "panics").await.text, "order 2");
    assert_eq!(here.effects().await, 1);
}

async fn a_refusal_that_commits_is_stored(here: &Here) {
    let shop = here.shop();
    for replayed in ["", "true"] {
        let answer = shop.post("k", "noted").await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.header("idempotency-replayed")),
            (400, replayed)
        );
        assert_eq!(answer.json()["detail"], "noted, and refused");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert_eq!((shop.seen.calls(), here.effects().await), (1, 1));
}

async fn an_answer_that_is_too_large_rolls_back(here: &Here) {
    let shop = here.shop();
    let answer = shop.post("k", "large").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &"HTTP-024".into()));
    assert_eq!((here.effects().await, here.count("mainstay_idempotency").await), (0, 0));
    let shop = Shop::with(&here.db, layer().answer_max(512 * 1024));
    assert_eq!(shop.post("k", "large").await.text.len(), 257 * 1024);
    assert_eq!(shop.post("k", "large").await.text.len(), 257 * 1024);
    assert_eq!(here.effects().await, 1);
}

async fn work_ends_at_its_deadline_without_its_client(here: &Here) {
    let shop = here.shop();
    let deadline = Clock::system().now() + Duration::from_millis(300);
    let scope = Scope::new(Kind::Request, "POST /orders").with_deadline(deadline);
    let client = shop.clone();
    let task = tokio::spawn(scope.run(async move { client.post("k", "slow").await }));
    until("it works", async || shop.seen.calls() == 1).await;
    task.abort();
    // Nobody opens the gate: without an end the key would be in flight for ever.
    let again = shop.post_until_done("k", "tea").await;
    assert_eq!((again.text.as_str(), here.effects().await), ("order 2", 1));
    let impatient = Shop::with(&here.db, layer().within(Duration::from_millis(300)));
    let late = impatient.post("k-2", "slow").await;
    assert_eq!((late.status.as_u16(), &late.json()["code"]), (504, &"DB-035".into()));
    assert_eq!(here.effects().await, 1);
}

async fn a_key_that_is_over_is_as_good_as_new(here: &Here) {
    let shop = Shop::with(&here.db, layer().keep_for(Duration::from_millis(50)));
    assert_eq!(shop.post("k", "tea").await.text, "order 1");
    sleep_ms(100).await;
    // With another payload too; the row is taken over.
    let shop = here.shop();
    assert_eq!(shop.post("k", "coffee").await.header("idempotency-replayed"), "");
    assert_eq!(shop.post("k", "coffee").await.header("idempotency-replayed"), "true");
    assert_eq!((here.effects().await, here.count("mainstay_idempotency").await), (2, 1));
}

async fn keys_that_are_over_are_cleaned_away(here: &Here) {
    let shop = Shop::with(&here.db, layer().keep_for(Duration::from_millis(1)));
    for n in 0..7 {
        shop.post(&format!("short-{n}"), "tea").await;
    }
    here.shop().post("long", "tea").await;
    sleep_ms(50).await;
    assert_eq!(mainstay_http::idempotency::clean(&here.db).await.unwrap(), 7);
    assert_eq!(mainstay_http::idempotency::clean(&here.db).await.unwrap(), 0);
    assert_eq!(here.count("mainstay_idempotency").await, 1);
    // By the way as well, about every hundredth key.
    for n in 0..110 {
        shop.post(&format!("many-{n}"), "tea").await;
    }
    until("some are gone", async || here.count("mainstay_idempotency").await < 60).await;
}

async fn installing_at_once_is_fine(here: &Here) {
    here.db
        .script("DROP TABLE mainstay_idempotency; DROP TABLE mainstay_idempotency_version")
        .await
        .unwrap();
    let answer = here.shop().post("k", "tea").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &"HTTP-025".into()));
    let all = (0..4).map(|_| async {
        let db = mainstay_db::Db::connect(here.url()).await.unwrap();
        mainstay_http::idempotency::install(&db).await
    });
    for installed in futures_util::future::join_all(all).await {
        installed.unwrap();
    }
    assert_eq!(here.shop().post("k", "tea").await.status, 201);
}
