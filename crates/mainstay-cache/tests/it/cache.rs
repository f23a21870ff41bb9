//! What every store must do.

use std::sync::Arc;
use std::time::Duration;

use mainstay_cache::Cache;
use mainstay_core::inspect::Inspect;
use mainstay_core::{Code, Error, Result};
use tokio::sync::{Barrier, oneshot};
use tokio::task::JoinHandle;

use crate::support::{At, Kind, Loader, on_every_store, sleep_ms, until, word};

on_every_store!(
    a_value_is_loaded_once_and_found,
    a_thousand_misses_are_one_load,
    an_invalidated_key_is_loaded_anew,
    an_invalidated_tag_takes_all_that_have_it,
    a_load_that_began_before_an_invalidation_is_not_kept,
    who_comes_after_an_invalidation_does_not_wait_for_the_old_load,
    a_put_wins_over_a_load_under_way,
    that_there_is_none_is_remembered_where_it_is_asked_for,
    a_stale_value_is_served_while_another_is_loaded,
    a_stale_value_that_is_gone_is_not_served_on,
    what_is_over_is_loaded_anew,
    an_error_is_given_to_all_who_wait,
    a_panic_is_given_to_all_who_wait,
    a_dropped_leader_is_followed_by_another,
    a_load_takes_no_longer_than_it_may,
    an_invalidation_follows_its_transaction,
    a_load_that_began_before_the_commit_is_not_kept,
    what_one_handle_invalidates_is_gone_for_the_other,
    names_of_any_kind_stay_apart,
    it_shows_itself,
);

pub async fn a_value_is_loaded_once_and_found(at: &At) {
    let (cache, loader) = (at.cache(), Loader::default());
    assert!(cache.get("k").await.is_none());
    for _ in 0..3 {
        assert_eq!(word(cache.get_or_load("k", loader.of("a")).await).as_deref(), Some("a"));
    }
    assert_eq!(cache.get("k").await.unwrap().as_str(), "a");
    assert_eq!(loader.count(), 1);
    cache.put("k", "b".to_owned()).await.unwrap();
    assert_eq!(word(cache.get_or_load("k", loader.of("c")).await).as_deref(), Some("b"));
}

pub async fn a_thousand_misses_are_one_load(at: &At) {
    let (cache, loader) = (at.cache(), Loader::default());
    let start = Arc::new(Barrier::new(1000));
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let (cache, loader, start) = (cache.clone(), loader.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                let slow = loader.of("a");
                let load = move || async move {
                    sleep_ms(100).await;
                    slow().await
                };
                word(cache.get_or_load("k", load).await)
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().as_deref(), Some("a"));
    }
    assert_eq!(loader.count(), 1);
}

pub async fn an_invalidated_key_is_loaded_anew(at: &At) {
    let (cache, loader) = (at.cache(), Loader::default());
    cache.get_or_load("k", loader.of("a")).await.unwrap();
    cache.get_or_load("other", loader.of("o")).await.unwrap();
    cache.invalidate("k").await.unwrap();
    assert!(cache.get("k").await.is_none());
    assert!(cache.get("other").await.is_some());
    assert_eq!(word(cache.get_or_load("k", loader.of("b")).await).as_deref(), Some("b"));
}

pub async fn an_invalidated_tag_takes_all_that_have_it(at: &At) {
    let (cache, loader) = (at.cache(), Loader::default());
    let tagged: [(&str, &[&str]); 4] =
        [("1", &["x", "y"]), ("2", &["x"]), ("3", &["y"]), ("4", &[])];
    for (key, tags) in tagged {
        cache.get_or_load_tagged(key, tags, loader.of("a")).await.unwrap();
        assert!(cache.get(key).await.is_some(), "{key} was not kept");
    }
    cache.invalidate_tag("x").await.unwrap();
    for (key, stays) in [("1", false), ("2", false), ("3", true), ("4", true)] {
        assert_eq!(cache.get(key).await.is_some(), stays, "{key}");
    }
    // And what is loaded from now on is good.
    let again = cache.get_or_load_tagged("1", &["x", "y"], loader.of("b")).await;
    assert_eq!(word(again).as_deref(), Some("b"));
    assert!(cache.get("1").await.is_some());
    let many = cache.get_or_load_tagged("1", &["t"; 17], loader.of("b")).await;
    assert_eq!(many.unwrap_err().code(), Code::CacheOption);
}

/// A load that has read `old` and brings it when it is let go.
async fn held(
    cache: &Cache<String>,
    key: &'static str,
    tags: &'static [&'static str],
) -> (JoinHandle<Option<String>>, oneshot::Sender<()>) {
    let ((began, has_begun), (go, gone)) = (oneshot::channel(), oneshot::channel::<()>());
    let cache = cache.clone();
    let load = move || async move {
        began.send(()).unwrap();
        gone.await.unwrap();
        Ok(Some("old".to_owned()))
    };
    let task = tokio::spawn(async move { word(cache.get_or_load_tagged(key, tags, load).await) });
    has_begun.await.unwrap();
    (task, go)
}

pub async fn a_load_that_began_before_an_invalidation_is_not_kept(at: &At) {
    let cache = at.cache();
    for by_tag in [false, true] {
        let (task, go) = held(&cache, "k", &["t"]).await;
        if by_tag {
            cache.invalidate_tag("t").await.unwrap();
        } else {
            cache.invalidate("k").await.unwrap();
        }
        go.send(()).unwrap();
        // It gets what it loaded, and nobody else does.
        assert_eq!(task.await.unwrap().as_deref(), Some("old"));
        assert!(cache.get("k").await.is_none(), "by tag: {by_tag}");
    }
    let (task, go) = held(&cache, "k", &["t"]).await;
    cache.invalidate_tag("another").await.unwrap();
    go.send(()).unwrap();
    task.await.unwrap();
    assert!(cache.get("k").await.is_some(), "nothing of it was invalidated");
}

pub async fn who_comes_after_an_invalidation_does_not_wait_for_the_old_load(at: &At) {
    let (cache, loader) = (at.cache(), Loader::default());
    let (task, go) = held(&cache, "k", &[]).await;
    cache.invalidate("k").await.unwrap();
    assert_eq!(word(cache.get_or_load("k", loader.of("new")).await).as_deref(), Some("new"));
    go.send(()).unwrap();
    task.await.unwrap();
    let kept = cache.get("k").await;
    assert!(kept.is_none_or(|kept| *kept == "new"), "the old one came after the new");
}

pub async fn a_put_wins_over_a_load_under_way(at: &At) {
    let cache = at.cache();
    let (task, go) = held(&cache, "k", &[]).await;
    cache.put("k", "new".to_owned()).await.unwrap();
    go.send(()).unwrap();
    task.await.unwrap();
    assert_eq!(cache.get("k").await.unwrap().as_str(), "new");
}

pub async fn that_there_is_none_is_remembered_where_it_is_asked_for(at: &At) {
    let none = |loader: &Loader| {
        let counted = loader.of("");
        move || async move { counted().await.map(|_| None) }
    };
    let (plain, loader) = (at.cache(), Loader::default());
    for _ in 0..2 {
        assert!(plain.get_or_load("k", none(&loader)).await.unwrap().is_none());
    }
    assert_eq!(loader.count(), 2);
    let cache = at.builder().negative_ttl(Duration::from_secs(60)).build().unwrap();
    for _ in 0..3 {
        assert!(cache.get_or_load("k", none(&loader)).await.unwrap().is_none());
    }
    assert_eq!(loader.count(), 3);
    cache.invalidate("k").await.unwrap();
    assert_eq!(word(cache.get_or_load("k", loader.of("a")).await).as_deref(), Some("a"));
}

fn short(at: &At) -> Cache<String> {
    let builder = at.builder().ttl(Duration::from_millis(200)).jitter(0.0);
    builder.stale_while_revalidate(Duration::from_secs(60)).build().unwrap()
}

pub async fn a_stale_value_is_served_while_another_is_loaded(at: &At) {
    let (cache, loader) = (short(at), Loader::default());
    cache.get_or_load("k", loader.of("old")).await.unwrap();
    sleep_ms(350).await;
    let (go, gone) = oneshot::channel::<()>();
    let load = move || async move {
        gone.await.unwrap();
        Ok(Some("new".to_owned()))
    };
    assert_eq!(word(cache.get_or_load("k", load).await).as_deref(), Some("old"));
    for _ in 0..20 {
        // The one refresh is under way.
        assert_eq!(word(cache.get_or_load("k", loader.of("b")).await).as_deref(), Some("old"));
    }
    assert_eq!(loader.count(), 1);
    go.send(()).unwrap();
    until("the new one is there", || async {
        cache.get("k").await.is_some_and(|found| *found == "new")
    })
    .await;
}

pub async fn a_stale_value_that_is_gone_is_not_served_on(at: &At) {
    let (cache, loader) = (short(at), Loader::default());
    cache.get_or_load("k", loader.of("old")).await.unwrap();
    sleep_ms(350).await;
    let gone = || async { Ok(None) };
    assert_eq!(word(cache.get_or_load("k", gone).await).as_deref(), Some("old"));
    until("the old one is gone", || async { cache.get("k").await.is_none() }).await;
}

pub async fn what_is_over_is_loaded_anew(at: &At) {
    let cache = at.builder().ttl(Duration::from_millis(200)).build().unwrap();
    let loader = Loader::default();
    cache.get_or_load("k", loader.of("a")).await.unwrap();
    sleep_ms(350).await;
    assert_eq!(word(cache.get_or_load("k", loader.of("b")).await).as_deref(), Some("b"));
}

/// So many wait for one load, whose loader is `load`; what the others would load fails the test.
async fn crowd<F, Fut>(
    cache: &Cache<String>,
    load: F,
) -> Vec<JoinHandle<Result<Option<Arc<String>>>>>
where
    F: FnOnce(oneshot::Receiver<()>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<String>>> + Send + 'static,
{
    let ((began, has_begun), (go, gone)) = (oneshot::channel(), oneshot::channel());
    let first = cache.clone();
    let mut all = vec![tokio::spawn(async move {
        let load = move || async move {
            began.send(()).unwrap();
            load(gone).await
        };
        first.get_or_load("k", load).await
    })];
    has_begun.await.unwrap();
    for _ in 0..20 {
        let cache = cache.clone();
        all.push(tokio::spawn(async move {
            cache.get_or_load("k", || async { Ok(Some("second".to_owned())) }).await
        }));
    }
    // Time for all of them to wait; one that is late would load for itself.
    sleep_ms(500).await;
    go.send(()).unwrap();
    all
}

pub async fn an_error_is_given_to_all_who_wait(at: &At) {
    let cache = at.cache();
    let tasks = crowd(&cache, |go| async {
        go.await.unwrap();
        Err(Error::new(Code::PoolTimeout, "no connection").why("all are out"))
    })
    .await;
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::PoolTimeout);
        assert_eq!(error.reason(), Some("all are out"));
    }
    // It is not remembered.
    assert!(cache.get_or_load("k", Loader::default().of("a")).await.unwrap().is_some());
}

pub async fn a_panic_is_given_to_all_who_wait(at: &At) {
    let cache = at.cache();
    let tasks = crowd(&cache, |go| async {
        let told = go.await;
        assert!(told.is_err(), "as the test wants it");
        Ok(None)
    })
    .await;
    let mut panics = 0;
    for task in tasks {
        match task.await {
            Ok(told) => assert_eq!(told.unwrap_err().code(), Code::CacheLoad),
            Err(joined) => panics += usize::from(joined.is_panic()),
        }
    }
    assert_eq!(panics, 1, "the panic is its caller's own");
    assert!(cache.get_or_load("k", Loader::default().of("a")).await.unwrap().is_some());
}

pub async fn a_dropped_leader_is_followed_by_another(at: &At) {
    let (cache, loader) = (at.cache(), Loader::default());
    let (leader, _never) = held(&cache, "k", &[]).await;
    let waiting = {
        let (cache, load) = (cache.clone(), loader.of("b"));
        tokio::spawn(async move { word(cache.get_or_load("k", load).await) })
    };
    sleep_ms(200).await;
    assert!(!waiting.is_finished());
    leader.abort();
    assert_eq!(waiting.await.unwrap().as_deref(), Some("b"));
    assert_eq!(loader.count(), 1);
    assert_eq!(cache.get("k").await.unwrap().as_str(), "b");
}

pub async fn a_load_takes_no_longer_than_it_may(at: &At) {
    let cache = at.builder().load_timeout(Duration::from_millis(50)).build().unwrap();
    let error = cache.get_or_load("k", std::future::pending).await.unwrap_err();
    assert_eq!(error.code(), Code::CacheLoad);
    assert!(cache.get_or_load("k", Loader::default().of("a")).await.unwrap().is_some());
}

pub async fn an_invalidation_follows_its_transaction(at: &At) {
    let (cache, loader) = (at.cache(), Loader::default());
    for key in ["k", "t"] {
        cache.get_or_load_tagged(key, &["tag"], loader.of("a")).await.unwrap();
    }
    let rolled_back: Result<()> = at
        .db
        .transaction(|tx| {
            let cache = cache.clone();
            async move {
                cache.invalidate_after_commit(&tx, "k").await?;
                cache.invalidate_tag_after_commit(&tx, "tag").await?;
                Err(Error::user("no"))
            }
        })
        .await;
    rolled_back.unwrap_err();
    assert!(cache.get("k").await.is_some() && cache.get("t").await.is_some());
    for by_tag in [false, true] {
        let committed = at.db.transaction(|tx| {
            let cache = cache.clone();
            async move {
                if by_tag {
                    cache.invalidate_tag_after_commit(&tx, "tag").await
                } else {
                    cache.invalidate_after_commit(&tx, "k").await
                }
            }
        });
        committed.await.unwrap();
        assert!(cache.get("k").await.is_none());
        assert_eq!(cache.get("t").await.is_none(), by_tag);
    }
}

pub async fn a_load_that_began_before_the_commit_is_not_kept(at: &At) {
    let cache = at.cache();
    let (task, go) = held(&cache, "k", &[]).await;
    at.db
        .transaction(|tx| {
            let cache = cache.clone();
            async move { cache.invalidate_after_commit(&tx, "k").await }
        })
        .await
        .unwrap();
    go.send(()).unwrap();
    task.await.unwrap();
    assert!(cache.get("k").await.is_none());
}

pub async fn what_one_handle_invalidates_is_gone_for_the_other(at: &At) {
    let (one, other, loader) = (at.cache(), at.cache(), Loader::default());
    one.get_or_load_tagged("k", &["t"], loader.of("a")).await.unwrap();
    assert_eq!(word(other.get_or_load("k", loader.of("b")).await).as_deref(), Some("a"));
    for by_tag in [false, true] {
        if by_tag {
            one.invalidate_tag("t").await.unwrap();
        } else {
            one.invalidate("k").await.unwrap();
        }
        // At once, save where it has to be heard of.
        if at.kind != Kind::Tiered {
            assert!(other.get("k").await.is_none());
        }
        until("the other heard of it", || async { other.get("k").await.is_none() }).await;
        one.get_or_load_tagged("k", &["t"], loader.of("a")).await.unwrap();
    }
}

pub async fn names_of_any_kind_stay_apart(at: &At) {
    let cache = at.cache();
    let long = "ä".repeat(3000);
    let longer = format!("{long}.");
    let names = ["", " ", "a", "a ", "A", "a:b", "a%b\u{0}", "🦀", long.as_str(), longer.as_str()];
    for name in names {
        cache.put(name, name.to_owned()).await.unwrap();
    }
    for name in names {
        assert_eq!(cache.get(name).await.unwrap().as_str(), name);
    }
}

pub async fn it_shows_itself(at: &At) {
    let (cache, loader) = (at.cache(), Loader::default());
    for _ in 0..3 {
        cache.get_or_load("k", loader.of("a")).await.unwrap();
    }
    let shown = cache.inspect();
    let fact = |name| shown.facts.iter().find(|f| f.name == name).unwrap().value;
    assert_eq!((shown.kind, shown.name.as_str()), ("cache", "words"));
    assert!((fact("hits") - 2.0).abs() < 0.1, "{shown:?}");
    assert!((fact("misses") - 1.0).abs() < 0.1 && (fact("loads") - 1.0).abs() < 0.1, "{shown:?}");
}
