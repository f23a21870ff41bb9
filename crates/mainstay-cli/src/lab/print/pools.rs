//! What became of requests, before and after: n-plus-one, pool-exhaustion, leak.

use console::style;

use super::{bad, boxed, dim, good, grid, heading, micros, said, thousands};
use crate::lab::{Exhaustion, Kept, Leak, NPlusOne};

pub(super) fn n_plus_one(report: &NPlusOne) -> String {
    let (before, after) = (&report.before, &report.after);
    let network = |text: u64| if text == 0 { "none".to_owned() } else { thousands(text) };
    let mut out = heading("a query for each row, and one for all");
    out += &format!(
        "before: {} authors are listed, and the books of each are asked for in a loop:\n        {}\n",
        report.parents, report.sql
    );
    out +=
        "after:  the same list, and one query for the books of all: `mainstay_load::load_many`\n\n";
    out += &grid(
        &["", "before", "after"],
        &[
            row("statements", thousands(before.statements), thousands(after.statements)),
            row("round trips", network(before.round_trips), network(after.round_trips)),
            row("rows", thousands(before.rows), thousands(after.rows)),
            row("time", micros(before.time_us), micros(after.time_us)),
        ],
    );
    if before.round_trips > 0 {
        out += &dim(&format!(
            "With 1 ms to the database, as between zones, the network adds {} ms before and {} ms after.",
            before.round_trips, after.round_trips
        ));
    } else {
        out +=
            &dim("SQLite is in the process: on a server each statement is a round trip as well.");
    }
    out += &said("What the doctor said while the loop ran", &before.findings);
    out += &said("And of the one query", &after.findings);
    out += &if report.same && after.statements < before.statements {
        good(&format!(
            "the same books, in {} statements instead of {}",
            after.statements, before.statements
        ))
    } else {
        bad("the two ways did not find the same")
    };
    out
}

pub(super) fn exhaustion(report: &Exhaustion) -> String {
    let (before, after) = (&report.before, &report.after);
    let mut out = heading("a connection that is kept while somebody else is waited for");
    let s = if report.connections == 1 { "connection" } else { "connections" };
    out += &format!(
        "{} orders come, on a pool of {} {s}; each calls a payment service that takes {}.\n",
        before.requests,
        report.connections,
        micros(report.call_us)
    );
    out += "before: the call is made inside the transaction\n";
    out += "after:  it is made first, and the transaction is as short as its statements\n\n";
    out += &grid(
        &["", "before", "after"],
        &[
            row(
                "orders served",
                served(before.served, before.requests),
                served(after.served, after.requests),
            ),
            row("refused (POOL-002)", before.timeouts.to_string(), after.timeouts.to_string()),
            row(
                "wait for a connection, p50",
                micros(before.wait_p50_us),
                micros(after.wait_p50_us),
            ),
            row(
                "wait for a connection, p99",
                micros(before.wait_p99_us),
                micros(after.wait_p99_us),
            ),
            row("all of it", micros(before.time_us), micros(after.time_us)),
        ],
    );
    if let Some(error) = &before.error {
        out += &format!(
            "\n{}\n{}\n",
            style("What the first who was refused was told").bold(),
            boxed(error)
        );
    }
    out += &said("What the doctor said of the first", &before.findings);
    out += &said("And of the second", &after.findings);
    out += &if after.timeouts == 0 {
        good(&format!("all {} are served by the same pool", after.served))
    } else {
        bad(&format!("{} are refused all the same: the machine is too slow", after.timeouts))
    };
    out += &dim(
        "A payment before the transaction is made even if that fails: have the service know the order by a key, or send\n\
         the call as a job of the transaction (docs/guide/jobs.md).",
    );
    out
}

pub(super) fn leak(report: &Leak) -> String {
    let (before, after) = (&report.before, &report.after);
    let mut out = heading("a connection that nobody gives back");
    out += "Each request reads the first row of a cursor, answers, and its task goes on waiting for the client.\n";
    out += "before: the cursor lives as long as the task, and with it its connection\n";
    out += "after:  it is in a block of its own, and dropped before the answer\n\n";
    out += &grid(
        &["", "before", "after"],
        &[
            row("requests answered", answered(before), answered(after)),
            row(
                "connections in use after it",
                before.in_use.len().to_string(),
                after.in_use.len().to_string(),
            ),
            row(
                "leaks the pool reported",
                before.reports.len().to_string(),
                after.reports.len().to_string(),
            ),
        ],
    );
    out += &format!("\n{}\n", style("Who had them, while nobody asked for anything").bold());
    for held in &before.in_use {
        out += &format!("  {}, for {}\n", held.who, micros(held.held_us));
        if let Some(last) = &held.last {
            out += &format!("    last: {last}\n");
        }
    }
    if let Some(error) = &before.error {
        out += &format!("\n{}\n{}\n", style("What the next request was told").bold(), boxed(error));
    }
    if let Some(report) = before.reports.first() {
        out +=
            &format!("\n{}\n{}\n", style("What the pool reported, of each").bold(), boxed(report));
    }
    out += &said("What the doctor said of it", &before.findings);
    out += &said("And with the block", &after.findings);
    out += &if after.in_use.is_empty() && after.error.is_none() {
        good(&format!("{} requests are answered, and no connection is left out", after.answered))
    } else {
        bad("connections are left out all the same")
    };
    out
}

fn row(what: &str, before: String, after: String) -> Vec<String> {
    vec![what.to_owned(), before, after]
}

fn served(served: u32, of: u32) -> String {
    format!("{served} of {of}")
}

fn answered(kept: &Kept) -> String {
    served(kept.answered, kept.requests)
}
