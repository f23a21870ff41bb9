//! The command line of the shop: `shop` serves, `shop up` runs its services as a process each, `shop seed`
//! fills the database, `shop config` shows the configuration.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mainstay::{Error, Result};
use shop::config::{Config, SECRETS};
use shop::state::Shop;
use shop::{schema, seed, server, up, worker};

/// Users, accounts, products and orders over HTTP, on SQLite, PostgreSQL or MySQL.
#[derive(Parser)]
#[command(version)]
struct Call {
    #[command(subcommand)]
    command: Option<Command>,
    /// Runs one service: users, orders, inventory, notifications or analytics [default: all]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Adds a route for each classic failure, and `/doctor`, which names them
    #[arg(long)]
    faults: bool,
    /// Ends when standard input does
    #[arg(long, hide = true)]
    end_with_stdin: bool,
    /// Where the database is; also DATABASE_URL [default: sqlite:data/shop.db]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "ADDRESS")]
    host: Option<String>,
    /// The port to listen on, and `up`'s first; also PORT [default: 8080, up 8081]
    #[arg(long, global = true)]
    port: Option<u16>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the five services as processes of their own, on a private PostgreSQL and RabbitMQ below ./data
    /// unless others are configured
    Up,
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
    match Box::pin(run(Call::parse())).await {
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
        .flag("faults", "http.faults", call.faults.then_some("true"))
        .flag("service", "services.run", call.service)
        .load::<Config>()?;
    match call.command {
        Some(Command::Config { origin }) => print_config(&loaded, origin),
        Some(Command::Seed) => {
            let databases = loaded.value.connect().await?;
            schema::migrate(&databases, &loaded.value.mainstay.migrate).await?;
            let seeded = seed::run(&databases).await;
            databases.close(std::time::Duration::from_secs(10)).await?;
            seeded
        }
        Some(Command::Up) => Box::pin(up::run(&loaded)).await,
        None => {
            if call.end_with_stdin {
                up::end_with_stdin()?;
            }
            serve(&loaded.value).await
        }
    }
}

async fn serve(config: &Config) -> Result<()> {
    config.services.check()?;
    let listener = server::listen(&config.http).await?;
    let databases = config.connect().await?;
    schema::migrate(&databases, &config.mainstay.migrate).await?;
    // It watches until the service ends.
    let _doctor = config.mainstay.doctor.watch(&databases.main())?;
    let shop = Shop::open(databases, config).await?;
    let jobs = &config.jobs;
    let works = jobs.worker && config.services.run.has_work();
    let workers = if works { Some(worker::start(&shop, jobs).await?) } else { None };
    server::serve(listener, shop, config, workers).await
}

fn print_config(loaded: &mainstay::config::Loaded<Config>, origin: bool) -> Result<()> {
    let value = serde_json::to_value(&loaded.value).map_err(|e| Error::user(e.to_string()))?;
    for (key, from) in &loaded.origins {
        let pointer = format!("/{}", key.replace('.', "/"));
        let shown = match value.pointer(&pointer) {
            Some(value) if SECRETS.contains(&key.as_str()) && is_set(value) => "(set)".to_owned(),
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

/// A default is no secret.
fn is_set(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Array(all) => !all.is_empty(),
        serde_json::Value::Object(all) => !all.is_empty(),
        value => !value.is_null(),
    }
}
