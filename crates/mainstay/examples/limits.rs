//! Rate limits in one process: `cargo run -p mainstay --features limit --example limits`.

use std::time::Duration;

use mainstay::limit::{Decision, Limiter, Limits, Policy};
use mainstay::prelude::*;

fn tell(who: &str, decision: Decision) {
    let Decision { allowed, remaining, limit, .. } = decision;
    match (allowed, decision.retry_after) {
        (true, _) => println!("  {who}: allowed, {remaining} of {limit} left"),
        (false, Some(wait)) => println!("  {who}: denied, come again in {wait:.1?}"),
        (false, None) => println!("  {who}: denied"),
    }
}

/// A policy is text, so it may stand in a configuration file.
async fn one_policy() -> Result<()> {
    println!("5 a second, 2 of them at once; each key has its own:");
    let limiter = Limiter::new("5/s burst 2".parse::<Policy>()?);
    for who in ["ada", "ada", "ada", "grace"] {
        tell(who, limiter.check(who));
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
    println!("a quarter of a second later:");
    tell("ada", limiter.check("ada"));

    println!("\nada pays, and may have 20 at once:");
    limiter.set_override("ada", Some("5/s burst 20".parse::<Policy>()?))?;
    tell("ada", limiter.check_n("ada", 15));
    Ok(())
}

/// All of them allow a call, or none of them counts it.
async fn several_policies() -> Result<()> {
    println!("\n10 a minute for each user, and 12 for all together:");
    let limits = Limits::local(vec![
        "10/min".parse::<Policy>()?.named("user"),
        "12/min".parse::<Policy>()?.named("all"),
    ])?;
    for (who, cost) in [("ada", 10), ("grace", 3), ("grace", 2)] {
        let admission = limits.decide(&[who, ""], cost).await;
        let outcome = if admission.allowed() { "allowed" } else { "denied" };
        let [user, all] = admission.decisions() else { continue };
        let (user, all) = (user.remaining, all.remaining);
        println!("  {who} asks for {cost}: {outcome}; left to {who} {user}, to all {all}");
    }
    Ok(())
}

/// Units that are held, and given back when the permit is dropped.
fn at_the_same_time() -> Result<()> {
    println!("\n2 reports at the same time:");
    let reports = Limiter::new("concurrency 2".parse::<Policy>()?);
    let first = reports.acquire("reports");
    let second = reports.acquire("reports");
    println!("  the first two run: {}", first.is_ok() && second.is_ok());
    println!("  the third runs: {}", reports.acquire("reports").is_ok());
    drop(first);
    println!("  and once the first is done: {}", reports.acquire("reports").is_ok());
    Ok(())
}

/// Counted and told, never enforced: how a limit is tried out.
fn in_shadow() -> Result<()> {
    println!("\n1 an hour, in shadow:");
    let limiter = Limiter::new("1/h shadow".parse::<Policy>()?);
    for call in 1..=2 {
        let Decision { allowed, shadowed, .. } = limiter.check("ada");
        println!("  call {call}: allowed {allowed}, would have been denied {shadowed}");
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    one_policy().await?;
    several_policies().await?;
    at_the_same_time()?;
    in_shadow()?;
    println!("\na policy that can't be read says why:");
    if let Err(error) = "100/fortnight".parse::<Policy>() {
        println!("{}", error.report());
    }
    Ok(())
}
