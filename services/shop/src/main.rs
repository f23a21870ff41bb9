//! The command line of the shop: `shop` serves, `shop seed` fills the database, `shop config` shows
//! the configuration.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mainstay::{Error, Result};
use shop::config::Config;
use shop::{schema, seed, server, worker};

/// Users, accounts, products and orders over HTTP, on SQLite, PostgreSQL or MySQL.
#[derive(Parser)]
#[command(version)]
struct Call {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where the database is; also DATABASE_URL [default: sqlite:data/shop.db]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "ADDRESS")]
    host: Option<String>,
    /// The port to listen on; also PORT [default: 8080]
    #[arg(long, global = true)]
    port: Option<u16>,
}

#[derive(Subcommand)]
enum Command {
    /// Adds 10,000 users with accounts, 1,000 products and 100,000 orders
    Seed,
    /// Prints the configuration
    Config {
        /// With the origin of each value
        #[arg(long)]
        origin: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "warn,shop=info,mainstay=info,sqlx::postgres::notice=error".into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
    match run(Call::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.report());
            ExitCode::FAILURE
        }
    }
}

async fn run(call: Call) -> Result<()> {
    let loaded = Config::sources()
        .flag("database-url", "database.url", call.database_url)
        .flag("host", "http.host", call.host)
        .flag("port", "http.port", call.port)
        .load::<Config>()?;
    match call.command {
        Some(Command::Config { origin }) => print_config(&loaded, origin),
        Some(Command::Seed) => {
            let db = loaded.value.connect().await?;
            schema::migrate(&db, &loaded.value.mainstay.migrate).await?;
            let seeded = seed::run(&db).await;
            db.close(std::time::Duration::from_secs(10)).await?;
            seeded
        }
        None => {
            let listener = server::listen(&loaded.value.http).await?;
            let db = loaded.value.connect().await?;
            schema::migrate(&db, &loaded.value.mainstay.migrate).await?;
            let jobs = &loaded.value.jobs;
            let worker = if jobs.worker { Some(worker::start(&db, jobs).await?) } else { None };
            server::serve(listener, db, &loaded.value.http, worker).await
        }
    }
}

fn print_config(loaded: &mainstay::config::Loaded<Config>, origin: bool) -> Result<()> {
    let value = serde_json::to_value(&loaded.value).map_err(|e| Error::user(e.to_string()))?;
    for (key, from) in &loaded.origins {
        let pointer = format!("/{}", key.replace('.', "/"));
        let shown = match value.pointer(&pointer) {
            // It may hold a password.
            Some(serde_json::Value::String(_)) if key == "database.url" => "(set)".to_owned(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        if origin {
            println!("{key} = {shown}  # {from}");
        } else {
            println!("{key} = {shown}");
        }
    }
    Ok(())
}
