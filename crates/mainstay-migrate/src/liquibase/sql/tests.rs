//! Formatted SQL as a real Liquibase reads it.

use super::*;
use crate::liquibase::checksum;

const FILE: &str = include_str!("../testdata/formatted.sql");

fn read(text: &str) -> Result<Vec<ChangeSet>> {
    let pieces = parse(text, &"fs.sql".into(), "fs.sql")?;
    let replace = |text: &str| text.replace("${tbl}", "tt");
    let sets = pieces.into_iter().filter_map(|piece| match piece {
        Piece::Set(mut set) => {
            expand(&mut set, &replace);
            Some(*set)
        }
        Piece::Property(_) => None,
    });
    Ok(sets.collect())
}

fn sql(change: &Change) -> &Sql {
    match change {
        Change::Sql(sql) => sql,
        Change::Defined(_) => panic!("{change:?}"),
    }
}

#[test]
fn checksums_are_those_of_a_real_liquibase() {
    let sets = read(FILE).unwrap();
    let sums: Vec<_> = sets.iter().map(|s| checksum::set(s, "postgresql")).collect();
    let want = [
        "9:8bb9a5ededc2349ca1e67afd7791e24a",
        "9:a7de5dee2409b6f0799b6ed5d5513185",
        "9:8f4948cad5a4e979f7ed9dba96c80631",
        "9:b7719184a8ef6d89e865ce7dc982ad03",
    ];
    assert_eq!(sums, want);
    let one = "--liquibase formatted sql\n--changeset a:1\n\
               create table t1 (id int primary key, name varchar(50));\n";
    let set = &read(one).unwrap()[0];
    assert_eq!(checksum::set(set, "sqlite"), "9:cdff7747c34417d2c696b54cdb244d30");
}

#[test]
fn what_the_lines_say_is_read() {
    let sets = read(FILE).unwrap();
    let [bob, alice, carol, dave] = &sets[..] else { panic!("{sets:?}") };
    assert_eq!((bob.author.as_str(), bob.id.as_str()), ("Bob Smith", "id with space"));
    assert_eq!((bob.file.as_str(), bob.at.line), ("log/fs.sql", 5));
    assert!(bob.run_on_change && !sql(&bob.changes[0]).split);
    assert_eq!(bob.valid_checksums, ["9:abc"]);
    let pre = bob.preconditions.as_ref().unwrap();
    assert_eq!((pre.on_fail, pre.conditions.len()), (Reaction::MarkRan, 2));
    let undo = &bob.rollback.as_ref().unwrap()[0];
    assert_eq!(sql(undo).text, "drop table a;\ndrop table b;");

    assert_eq!(alice.contexts.as_deref(), Some("a,b"));
    assert_eq!(alice.labels.as_deref(), Some("l1 or l2"));
    assert_eq!(alice.dbms.as_deref(), Some("postgresql,h2"));
    assert_eq!(alice.comment.as_deref(), Some("hello  there"));
    assert!(alice.run_always && sql(&alice.changes[0]).strip_comments);
    assert_eq!(sql(&alice.rollback.as_ref().unwrap()[0]).text, "drop table x;\nselect 1;");

    assert!(!carol.run_in_transaction && !carol.fail_on_error);
    assert_eq!(carol.rollback.as_deref(), Some(&[][..]));
    assert_eq!(sql(&dave.changes[0]).delimiter.as_deref(), Some("\\n/"));
    assert_eq!(dave.rollback, None);
}

#[test]
fn properties_are_found() {
    let pieces = parse(FILE, &"fs.sql".into(), "fs.sql").unwrap();
    let Piece::Property(property) = &pieces[0] else { panic!() };
    assert_eq!((property.name.as_str(), property.value.as_str()), ("tbl", "tt"));
    assert!(property.global && property.at.line == 3);
}

#[test]
fn mistakes_are_named() {
    let refused = |body: &str| {
        let text = format!("--liquibase formatted sql\n{body}\nselect 1;\n");
        read(&text).unwrap_err().report()
    };
    assert!(refused("--changeset a:1 runOnChnage:true").contains("write 'runOnChange'"));
    assert!(refused("--changeset a:1 runOnChange:yes").contains("neither true nor false"));
    assert!(refused("--changeset a:1 context:a and b").contains("'and' is no attribute"));
    assert!(refused("--changeset a").contains("fs.sql:2: the change set has no author and id"));
    assert!(refused("-changeset a:1").contains("one dash"));
    assert!(refused("--changeset a:1\n--changeset a:2").contains("a:1 has no SQL"));
    assert!(refused("drop table x;").contains("before the first change set"));
    assert!(
        refused("--changeset a:1\n--precondition-tabel-exists table:x").contains("table-exists")
    );
    assert!(refused("--changeset a:1\n/* liquibase rollback").contains("nothing closes"));
    assert!(refused("--changeset a:1\n--ignoreLines:start").contains("ignoreLines:end"));
}
