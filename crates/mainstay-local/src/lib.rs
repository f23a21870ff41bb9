//! Private servers from installed binaries: a real PostgreSQL or MariaDB in a folder, on a Unix
//! socket, or a message broker on loopback, that ends with the process that started it, however that ends.
//!
//! It knows no driver and speaks no protocol: whether a server is ready, its own tools tell. Every
//! call blocks (a start takes 0.1 s to 3 s): from async code use `spawn_blocking`.
//!
//! ```no_run
//! use mainstay_local::{Options, Postgres};
//!
//! let server = Postgres::start(&Options::new("./data/pg"))?;
//! println!("psql -h {} -U {}", server.socket_folder().display(), server.user());
//! # Ok::<(), mainstay_core::Error>(())
//! ```

mod account;
mod binaries;
mod broker;
mod folder;
mod mariadb;
mod options;
mod pgbouncer;
mod postgres;
mod process;
mod replication;
mod server;
mod tree;

pub use broker::{Nats, RabbitMq, Redis};
pub use mariadb::MariaDb;
pub use options::{Options, Tls};
pub use pgbouncer::{PgBouncer, Upstream};
pub use postgres::Postgres;
pub use replication::Node;
pub use server::Server;
