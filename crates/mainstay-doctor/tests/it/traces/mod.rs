//! N+1 on labelled traces: 120 with one, 80 that look like one. They are made anew from seeds, with noise
//! and other requests in between.

mod labelled;
mod make;
mod negative;
mod positive;

use mainstay_core::Code;
use mainstay_doctor::{replay, trace};

use labelled::{SEEDS, Tally};
use make::Maker;

#[test]
fn n_plus_one_is_told_from_what_looks_like_it() {
    let mut tally = Tally::default();
    for labelled in (1..=SEEDS).flat_map(labelled::all) {
        let findings = replay(&trace::read(labelled.lines.as_bytes()).unwrap());
        tally.add(&labelled, &labelled::places(&findings));
    }
    let (recall, precision, site) = (tally.recall(), tally.precision(), tally.site());
    let wrong = tally.wrong.join("\n");
    println!("recall {recall:.3}, precision {precision:.3}, call site {site:.3}\n{wrong}");
    assert_eq!(tally.expected, labelled::POSITIVES * SEEDS as usize);
    assert!(recall >= 0.95, "recall {recall}\n{wrong}");
    assert!(precision >= 0.97, "precision {precision}\n{wrong}");
    assert!(site >= 0.98, "call site {site}\n{wrong}");
}

#[test]
fn a_finding_names_the_parent_the_column_and_the_statement_that_would_do() {
    for kind in ["plain", "in a table of the lab"] {
        let mut maker = Maker::new(1);
        positive::KINDS.iter().find(|k| k.0 == kind).unwrap().1(&mut maker);
        let findings = replay(&trace::read(maker.lines().as_bytes()).unwrap());
        let finding = findings.iter().find(|f| f.code == Code::DoctorNPlusOne).expect(kind);
        let text = finding.to_string();
        assert!(text.contains("N+1") && text.contains("column `id` of `SELECT"), "{text}");
        assert!(text.contains("= ANY($1)") && text.contains("JOIN"), "{text}");
        assert!(finding.cost.round_trips >= 2 && finding.scope.is_some(), "{text}");
    }
}

#[test]
fn other_loops_have_codes_of_their_own() {
    for (kind, code) in [
        ("the same again", Code::DoctorRepeat),
        ("inserts", Code::DoctorWriteLoop),
        ("values of the client", Code::DoctorQueryLoop),
    ] {
        let mut maker = Maker::new(3);
        negative::KINDS.iter().find(|k| k.0 == kind).unwrap().1(&mut maker);
        let findings = replay(&trace::read(maker.lines().as_bytes()).unwrap());
        assert!(findings.iter().any(|f| f.code == code), "{kind}: {findings:?}");
    }
    for (kind, maker) in negative::KINDS.iter().map(|k| (k.0, k.1)) {
        let mut made = Maker::new(9);
        maker(&mut made);
        let findings = replay(&trace::read(made.lines().as_bytes()).unwrap());
        let text = format!("{findings:?}");
        assert!(!text.contains("N+1"), "{kind}: {text}");
    }
}

#[test]
fn other_findings_of_a_trace() {
    let found = |lines: &str| {
        let findings = replay(&trace::read(lines.as_bytes()).unwrap());
        findings.iter().map(|f| f.code.as_str()).collect::<Vec<_>>()
    };
    let line = |at: u64, tx: &str, conn: u32, sql: &str, rows: u64| {
        format!(
            "{{\"at_us\":{at},\"dur_us\":10,\"scope\":{{\"id\":1,\"name\":\"GET /\"}},\"task\":1,\"tx\":{tx},\
             \"conn\":{conn},\"site\":\"a.rs:{at}\",\"sql\":\"{sql}\",\"rows\":{rows}}}\n"
        )
    };
    let write = "UPDATE orders SET paid = true WHERE id = $1";
    let publish = "INSERT INTO mainstay_event (name) VALUES ($1)";
    assert_eq!(
        found(&(line(1, "null", 1, write, 0) + &line(20, "null", 1, publish, 0))),
        ["DOC-013"]
    );
    assert_eq!(found(&(line(1, "7", 1, write, 0) + &line(20, "7", 1, publish, 0))), [""; 0]);
    assert_eq!(found(&(line(1, "7", 1, write, 0) + &line(20, "8", 1, publish, 0))), ["DOC-013"]);
    assert_eq!(found(&line(1, "null", 1, "SELECT * FROM orders", 20_000)), ["DOC-005"]);
    assert_eq!(found(&line(1, "null", 1, "SELECT * FROM orders LIMIT 50000", 20_000)), [""; 0]);
    let (a, b) = ("SELECT 1 FROM a", "SELECT 1 FROM b");
    let inside = line(1, "7", 1, a, 1) + &line(50, "null", 2, b, 1) + &line(90, "7", 1, a, 1);
    assert_eq!(found(&inside), ["DOC-011"]);
    assert_eq!(found(&(line(1, "7", 1, a, 1) + &line(3_000_000, "7", 1, b, 1))), ["DOC-009"]);
}
