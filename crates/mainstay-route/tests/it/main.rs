//! Replicas and shards on real servers.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

/// Makes each function a test on PostgreSQL and on MariaDB.
macro_rules! on_servers {
    ($($name:ident),* $(,)?) => {
        on_servers!(@ postgres Postgres $($name)*);
        on_servers!(@ mariadb MariaDb $($name)*);
    };
    (@ $module:ident $engine:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(mainstay_testkit::Engine::$engine).await;
                }
            )*
        }
    };
}
pub(crate) use on_servers;

mod carried;
mod classify;
mod moves;
mod replicas;
mod shard_below;
mod shard_down;
mod shard_generated;
mod shard_handle;
mod shard_refused;
mod shard_scatter;
mod shard_support;
mod shard_world;
mod topology;
mod topology_down;
mod two_phase;
