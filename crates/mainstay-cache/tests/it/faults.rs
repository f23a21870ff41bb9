//! What a cache does where its store is frozen, killed, full, or holds what it should not.

mod redis {
    use std::time::Duration;

    use mainstay_cache::{Cache, Redis, Tiered};
    use mainstay_core::Code;
    use mainstay_core::clock::Clock;
    use mainstay_core::inspect::{Health, Inspect};
    use mainstay_testkit::Broker;

    use crate::support::{Loader, PATIENT, sleep_ms, until, word};

    /// As another process has it.
    fn cache(server: &Broker) -> Cache<String> {
        Cache::builder("words", Redis::new(&server.url()).unwrap()).build().unwrap()
    }

    fn patient(server: &Broker) -> Redis {
        Redis::new(&server.url()).unwrap().answer_within(PATIENT)
    }

    async fn say(server: &Broker, words: &[&str]) -> ::redis::Value {
        let client = ::redis::Client::open(server.url()).unwrap();
        let mut wire = client.get_multiplexed_async_connection().await.unwrap();
        let mut cmd = ::redis::cmd(words[0]);
        for word in &words[1..] {
            cmd.arg(*word);
        }
        cmd.query_async(&mut wire).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_frozen_server_costs_a_bounded_wait_and_no_error() {
        let (server, loader) = (Broker::redis().await, Loader::default());
        let cache = cache(&server);
        until("it is reached", || async {
            cache.get_or_load("k", loader.of("a")).await.unwrap();
            cache.get("k").await.is_some()
        })
        .await;
        server.freeze().await;
        let clock = Clock::system();
        let begun = clock.now();
        for _ in 0..100 {
            assert_eq!(word(cache.get_or_load("k", loader.of("b")).await).as_deref(), Some("b"));
        }
        // After some waits of 50 ms, nobody waits for it any more.
        let took = clock.now().saturating_duration_since(begun);
        assert!(took < Duration::from_secs(5), "{took:?} for a hundred reads");
        assert_eq!(cache.inspect().health, Health::Degraded);
        assert_eq!(cache.invalidate("k").await.unwrap_err().code(), Code::CacheStore);
        server.thaw().await;
        until("it is used again", || async {
            cache.get_or_load("again", loader.of("c")).await.unwrap();
            cache.get("again").await.is_some()
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_killed_server_is_gone_without_and_found_again() {
        let (server, loader) = (Broker::redis().await, Loader::default());
        let cache = cache(&server);
        cache.get_or_load("k", loader.of("a")).await.unwrap();
        server.kill().await;
        for _ in 0..20 {
            assert!(cache.get_or_load("k", loader.of("b")).await.unwrap().is_some());
        }
        server.start().await;
        until("it is used again", || async {
            cache.get_or_load("again", loader.of("c")).await.unwrap();
            cache.get("again").await.is_some()
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_corrupt_entry_is_a_miss() {
        let (server, loader) = (Broker::redis().await, Loader::default());
        let cache: Cache<String> = Cache::builder("words", patient(&server)).build().unwrap();
        for garbage in ["", "garbage", "msc\u{1}and more"] {
            say(&server, &["SET", "mainstay:cache:e:words:k", garbage, "PX", "60000"]).await;
            assert!(cache.get("k").await.is_none());
            assert_eq!(word(cache.get_or_load("k", loader.of("a")).await).as_deref(), Some("a"));
            assert_eq!(cache.get("k").await.unwrap().as_str(), "a");
        }
        // As a deployment that changed the type finds it.
        let numbers: Cache<u64> = Cache::builder("words", patient(&server)).build().unwrap();
        let loaded = numbers.get_or_load("k", || async { Ok(Some(7)) }).await.unwrap();
        assert_eq!(loaded.as_deref(), Some(&7));
        let shown = numbers.inspect();
        assert!(shown.facts.iter().any(|f| f.name == "unreadable entries" && f.value >= 1.0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_without_memory_keeps_nothing_and_still_invalidates() {
        let (server, loader) = (Broker::redis().await, Loader::default());
        let cache: Cache<String> = Cache::builder("words", patient(&server)).build().unwrap();
        cache.get_or_load_tagged("k", &["t"], loader.of("a")).await.unwrap();
        cache.get_or_load_tagged("l", &["t"], loader.of("a")).await.unwrap();
        say(&server, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
        say(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
        assert!(cache.get("k").await.is_some());
        assert_eq!(word(cache.get_or_load("new", loader.of("n")).await).as_deref(), Some("n"));
        assert!(cache.get("new").await.is_none());
        cache.invalidate("k").await.unwrap();
        assert!(cache.get("k").await.is_none() && cache.get("l").await.is_some());
        cache.invalidate_tag("t").await.unwrap();
        assert!(cache.get("l").await.is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_processes_one_loads() {
        let (server, loader) = (Broker::redis().await, Loader::default());
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let cache: Cache<String> =
                    Cache::builder("words", patient(&server)).build().unwrap();
                let load = loader.of("a");
                tokio::spawn(async move {
                    let slow = || async move {
                        sleep_ms(300).await;
                        load().await
                    };
                    word(cache.get_or_load("k", slow).await)
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().as_deref(), Some("a"));
        }
        assert_eq!(loader.count(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dead_process_keeps_the_others_waiting_for_its_lock_alone() {
        let (server, loader) = (Broker::redis().await, Loader::default());
        let cache: Cache<String> = Cache::builder("words", patient(&server)).build().unwrap();
        say(&server, &["SET", "mainstay:cache:l:words:k", "somebody", "PX", "600000"]).await;
        let clock = Clock::system();
        let begun = clock.now();
        assert_eq!(word(cache.get_or_load("k", loader.of("a")).await).as_deref(), Some("a"));
        let took = clock.now().saturating_duration_since(begun);
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(cache.get("k").await.unwrap().as_str(), "a");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_near_tier_is_emptied_when_its_channel_is_back() {
        let (server, loader) = (Broker::redis().await, Loader::default());
        let far: Cache<String> = Cache::builder("words", patient(&server)).build().unwrap();
        let tiered = Tiered::new(patient(&server)).near_ttl(Duration::from_secs(3600));
        let near: Cache<String> = Cache::builder("words", tiered).build().unwrap();
        near.get_or_load("k", loader.of("a")).await.unwrap();
        // Nobody hears this: as if the message had been lost.
        say(&server, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        far.put("k", "b".to_owned()).await.unwrap();
        until("the new one is seen", || async {
            near.get("k").await.is_some_and(|found| *found == "b")
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_near_tier_spares_the_loader_while_redis_is_away() {
        let (server, loader) = (Broker::redis().await, Loader::default());
        let redis = Redis::new(&server.url()).unwrap();
        let cache: Cache<String> = Cache::builder("words", Tiered::new(redis)).build().unwrap();
        server.kill().await;
        for _ in 0..10 {
            assert!(cache.get_or_load("k", loader.of("a")).await.unwrap().is_some());
        }
        assert_eq!(loader.count(), 1);
    }
}
