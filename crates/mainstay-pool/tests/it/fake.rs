//! A manager whose connections can be made dirty, broken, silent, slow or impossible to open.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_pool::{Activity, Condition, Manage, Options, Pool};

#[derive(Debug)]
pub struct Conn {
    pub id: u64,
    pub condition: Condition,
    pub activity: Option<Activity>,
    open: Arc<AtomicUsize>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.open.fetch_sub(1, SeqCst);
    }
}

/// The switches and counters of a [`Fake`].
#[derive(Debug, Default)]
pub struct World {
    pub next: AtomicU64,
    pub open: Arc<AtomicUsize>,
    pub connecting: AtomicUsize,
    pub most_connecting: AtomicUsize,
    pub connects: AtomicUsize,
    pub down: AtomicBool,
    pub silent: AtomicBool,
    pub checks: AtomicUsize,
    pub connect_time: Mutex<Duration>,
    pub recover_time: Mutex<Duration>,
}

#[derive(Clone, Debug, Default)]
pub struct Fake(pub Arc<World>);

impl Fake {
    pub fn pool(&self, options: Options) -> Pool<Fake> {
        Pool::builder(self.clone()).options(options).build().unwrap()
    }
}

impl Manage for Fake {
    type Connection = Conn;

    async fn connect(&self) -> Result<Conn> {
        let world = &self.0;
        world.connects.fetch_add(1, SeqCst);
        let now = world.connecting.fetch_add(1, SeqCst) + 1;
        world.most_connecting.fetch_max(now, SeqCst);
        let time = *world.connect_time.lock().unwrap();
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        world.connecting.fetch_sub(1, SeqCst);
        if world.down.load(SeqCst) {
            return Err(Error::new(Code::Unreachable, "connection refused by 127.0.0.1:5432"));
        }
        world.open.fetch_add(1, SeqCst);
        let id = world.next.fetch_add(1, SeqCst);
        Ok(Conn { id, condition: Condition::Clean, activity: None, open: Arc::clone(&world.open) })
    }

    fn attach(&self, connection: &mut Conn, activity: Activity) {
        connection.activity = Some(activity);
    }

    async fn check(&self, _: &mut Conn) -> Result<()> {
        self.0.checks.fetch_add(1, SeqCst);
        if self.0.silent.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn condition(&self, connection: &Conn) -> Condition {
        connection.condition
    }

    async fn recover(&self, connection: &mut Conn) -> Result<()> {
        let time = *self.0.recover_time.lock().unwrap();
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        connection.condition = Condition::Clean;
        Ok(())
    }

    async fn close(&self, _: Conn) {}
}

pub fn options(max_size: u32) -> Options {
    Options { max_size, ..Options::default() }
}

/// Waits until `done`, for at most ten seconds.
pub async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never happened: {what}");
}
