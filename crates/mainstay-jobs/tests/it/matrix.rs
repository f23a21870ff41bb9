//! The table of what each backend guarantees, written from the suite: `docs/guide/guarantees.md`.

use std::path::Path;

use mainstay_core::config;

const BACKENDS: [&str; 6] = ["SQLite", "PostgreSQL", "MariaDB", "RabbitMQ", "NATS", "Redis"];
/// Tests by name, with why they do not hold where a broker carries the queue.
type Guarantees = &'static [(&'static str, Option<&'static str>)];

const PARTS: [(&str, Guarantees); 6] = [
    ("Jobs", crate::basics::GUARANTEES),
    ("Keys, limits, rates", crate::keyed::GUARANTEES),
    ("Keys, limits, rates together", crate::careful::GUARANTEES),
    ("Events", crate::events::GUARANTEES),
    ("Steps and sagas", crate::saga::GUARANTEES),
    ("Operation", crate::admin::GUARANTEES),
];

fn matrix() -> String {
    let mut out = String::from(
        "# What each backend guarantees\n\nWritten from the suite that runs on all of them: \
         `MAINSTAY_UPDATE_DOCS=1 cargo test -p mainstay-jobs --test it matrix::` writes it anew. A row is a test of that\n\
         name in `crates/mainstay-jobs/tests/it`, and a tick says that it runs there and passes. The brokers carry\n\
         queues of a database (`Queue::via`), which stays the record of every job.\n",
    );
    let mut notes = Vec::new();
    for (part, rows) in PARTS {
        out += &format!("\n| {part} | {} |\n|---|{}\n", BACKENDS.join(" | "), "---|".repeat(6));
        for (name, why) in rows {
            let name = name.replace('_', " ");
            let broker = match why {
                None => "✓".to_owned(),
                Some(why) => {
                    notes.push(*why);
                    format!("[{}]", notes.len())
                }
            };
            let cells = ["✓", "✓", "✓", &broker, &broker, &broker];
            out += &format!("| {name} | {} |\n", cells.join(" | "));
        }
    }
    if !notes.is_empty() {
        out += "\n";
    }
    for (at, note) in notes.iter().enumerate() {
        out += &format!("[{}]: {note}.\n\n", at + 1).replace("]:", "]");
    }
    out.trim_end().to_owned() + "\n"
}

#[test]
fn the_table_in_the_docs_is_the_suite_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/guarantees.md");
    if config::variable("MAINSTAY_UPDATE_DOCS").is_some() {
        std::fs::write(&path, matrix()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, matrix(), "MAINSTAY_UPDATE_DOCS=1 writes it anew");
}
