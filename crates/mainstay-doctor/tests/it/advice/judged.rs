//! Sixty plans on three databases, each with what an expert would say of it. The benchmarks share it.

use mainstay_core::Code;
use mainstay_db::Db;
use mainstay_doctor::advice::{Options, Query};
use mainstay_doctor::plan::explain;

/// Tables as large everywhere: a hundred thousand rows, five thousand, a hundred.
pub const POSTGRES: &str = "CREATE TABLE big (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, c int NOT NULL, t text NOT NULL);
INSERT INTO big SELECT i, i % 5000, i % 5000 / 10, i % 3, repeat('x', 60) FROM generate_series(1, 100000) i;
CREATE TABLE mids (id int PRIMARY KEY, a int NOT NULL, k int NOT NULL);
INSERT INTO mids SELECT i, i, i % 100 FROM generate_series(1, 5000) i;
CREATE TABLE small (id int PRIMARY KEY, a int NOT NULL);
INSERT INTO small SELECT i, i FROM generate_series(1, 100) i;
CREATE TABLE unclean (id int PRIMARY KEY, a int NOT NULL);
CREATE INDEX big_c ON big (c);
VACUUM ANALYZE;
INSERT INTO unclean SELECT i, i % 10 FROM generate_series(1, 50000) i;
ANALYZE unclean";

pub const MARIADB: &str = "CREATE TABLE big (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, c int NOT NULL, t text NOT NULL, KEY big_c (c));
INSERT INTO big SELECT seq, seq % 5000, seq % 5000 DIV 10, seq % 3, repeat('x', 60) FROM seq_1_to_100000;
CREATE TABLE mids (id int PRIMARY KEY, a int NOT NULL, k int NOT NULL);
INSERT INTO mids SELECT seq, seq, seq % 100 FROM seq_1_to_5000;
CREATE TABLE small (id int PRIMARY KEY, a int NOT NULL);
INSERT INTO small SELECT seq, seq FROM seq_1_to_100;
ANALYZE TABLE big, mids, small";

pub const SQLITE: &str = "CREATE TABLE big (id INTEGER PRIMARY KEY, a int NOT NULL, b int NOT NULL, c int NOT NULL, t text NOT NULL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) INSERT INTO big SELECT i, i % 5000, i % 5000 / 10, i % 3, 'xxxxxxxxxxxxxxxxxxxx' FROM n;
CREATE TABLE mids (id INTEGER PRIMARY KEY, a int NOT NULL, k int NOT NULL);
INSERT INTO mids SELECT id, id, id % 100 FROM big WHERE id <= 5000;
CREATE TABLE small (id INTEGER PRIMARY KEY, a int NOT NULL);
INSERT INTO small SELECT id, id FROM big WHERE id <= 100;
CREATE INDEX big_c ON big (c);
ANALYZE";

const SCAN: Code = Code::PlanScan;
const SPILL: Code = Code::PlanSpill;
const LOOP: Code = Code::PlanLoop;
const FETCHES: Code = Code::PlanHeapFetches;
const TRANSIENT: Code = Code::PlanTransientIndex;
const SORT: Code = Code::PlanSort;

/// With a setting before it, where a plan is to be forced.
pub type Label = (&'static str, &'static [Code]);

pub const ON_POSTGRES: &[Label] = &[
    ("SELECT * FROM big WHERE a = 7", &[SCAN]),
    ("SELECT count(*) FROM big WHERE a BETWEEN 5 AND 9", &[SCAN]),
    ("SELECT * FROM big WHERE a = 7 OR b = 9", &[SCAN]),
    ("SELECT count(*) FROM big WHERE a = 70 AND b = 7", &[SCAN]),
    ("SELECT * FROM big WHERE a % 5000 = 3 AND b % 500 < 400", &[SCAN]),
    ("SELECT * FROM big WHERE a * 2 < 4000 AND t IS NOT NULL", &[]),
    ("SELECT count(*) FROM big WHERE a + b < 10000", &[]),
    ("SELECT * FROM big ORDER BY t, b", &[SPILL]),
    ("SELECT * FROM big ORDER BY b DESC, t DESC", &[SPILL]),
    (
        "SELECT m.id, (SELECT count(*) FROM small s WHERE s.a < m.id) FROM mids m WHERE m.id < 50",
        &[],
    ),
    ("SELECT count(a) FROM unclean WHERE id > 0 AND id < 40000", &[]),
    ("SELECT id FROM unclean WHERE id BETWEEN 100 AND 9000", &[FETCHES]),
    ("SELECT count(id) FROM unclean WHERE id < 8000", &[FETCHES]),
    ("SELECT * FROM big WHERE id = 7", &[]),
    ("SELECT * FROM big WHERE id < 500", &[]),
    ("SELECT * FROM small WHERE a = 3", &[]),
    ("SELECT count(*) FROM big", &[]),
    ("SELECT * FROM mids ORDER BY k LIMIT 5", &[]),
    ("SELECT s.id, b.id FROM small s JOIN big b ON b.id = s.a", &[]),
    ("SELECT count(*) FROM mids m JOIN small s ON m.a < s.a * 40 AND m.k <> s.id", &[LOOP]),
];

pub const ON_MARIADB: &[Label] = &[
    ("SELECT * FROM big WHERE a = 7", &[SCAN]),
    ("SELECT count(*) FROM big WHERE a BETWEEN 5 AND 9", &[SCAN]),
    ("SELECT * FROM big WHERE a = 7 OR b = 9", &[SCAN]),
    ("SELECT id FROM big WHERE t = 'nothing'", &[SCAN]),
    ("SELECT * FROM big WHERE a % 5000 = 3", &[SCAN]),
    ("SELECT count(*) FROM big WHERE a < 4000", &[]),
    ("SELECT id, a FROM big ORDER BY b, a", &[SPILL, SORT]),
    ("SELECT id FROM big ORDER BY t, a", &[SPILL, SORT]),
    ("SELECT b, count(*) FROM big GROUP BY b ORDER BY NULL", &[SORT]),
    ("SELECT DISTINCT a FROM big", &[SORT]),
    (
        "SELECT count(*) FROM mids m JOIN big b ON b.a = m.a AND b.b = m.k WHERE m.id < 60",
        &[TRANSIENT],
    ),
    ("SELECT count(*) FROM small s JOIN big b ON b.a = s.a", &[TRANSIENT]),
    ("SELECT * FROM big WHERE id = 7", &[]),
    ("SELECT * FROM big WHERE id < 500", &[]),
    ("SELECT * FROM small WHERE a = 3", &[]),
    ("SELECT count(*) FROM big", &[]),
    ("SELECT * FROM mids ORDER BY k LIMIT 5", &[]),
    ("SELECT s.id, b.id FROM small s JOIN big b ON b.id = s.a", &[]),
    ("SELECT * FROM small ORDER BY a", &[]),
    ("SELECT max(id) FROM big", &[]),
];

pub const ON_SQLITE: &[Label] = &[
    ("SELECT * FROM big WHERE a = 7", &[SCAN]),
    ("SELECT count(*) FROM big WHERE a BETWEEN 5 AND 9", &[SCAN]),
    ("SELECT * FROM big AS x WHERE x.t = 'nothing'", &[SCAN]),
    ("SELECT id FROM big WHERE b IN (4, 5)", &[SCAN]),
    ("SELECT * FROM big WHERE a = 1 UNION ALL SELECT * FROM big WHERE id = 3", &[SCAN]),
    ("DELETE FROM big WHERE b = 3", &[SCAN]),
    ("SELECT id, a FROM big ORDER BY b, a", &[SORT]),
    ("SELECT id FROM big ORDER BY t", &[SORT]),
    ("SELECT b, count(*) FROM big GROUP BY b", &[SORT]),
    ("SELECT DISTINCT a FROM big", &[SORT]),
    ("SELECT count(*) FROM mids m JOIN big b ON b.a = m.a", &[TRANSIENT]),
    ("SELECT count(*) FROM mids m JOIN mids n ON n.a < m.k", &[LOOP]),
    ("SELECT * FROM big WHERE id = 7", &[]),
    ("SELECT * FROM big WHERE id < 500", &[]),
    ("SELECT * FROM small WHERE a = 3", &[]),
    ("SELECT count(*) FROM big", &[]),
    ("SELECT * FROM mids ORDER BY k LIMIT 5", &[]),
    ("SELECT s.id, b.id FROM small s JOIN big b ON b.id = s.a", &[]),
    ("SELECT * FROM small ORDER BY a", &[]),
    ("SELECT * FROM big WHERE c = 1", &[]),
];

/// What was said rightly, what was said in all, and what should have been.
pub async fn tally(db: &Db, labels: &[Label]) -> (usize, usize, usize) {
    let (mut right, mut said, mut wanted) = (0, 0, 0);
    for (sql, expected) in labels {
        let explained = explain(db, &Query::new(*sql), true, &Options::default()).await;
        let explained = explained.unwrap_or_else(|e| panic!("{sql}: {}", e.report()));
        let mut codes: Vec<Code> = explained.findings.iter().map(|f| f.code).collect();
        codes.sort_unstable();
        codes.dedup();
        said += codes.len();
        wanted += expected.len();
        right += expected.iter().filter(|code| codes.contains(code)).count();
        if codes != *expected {
            println!("{sql}\n  said {codes:?}, not {expected:?}\n{}", explained.drawn());
        }
    }
    (right, said, wanted)
}
