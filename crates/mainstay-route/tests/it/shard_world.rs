//! Generated questions, and whether shards answer them as one database with all the rows does. It needs the databases given;
//! the benchmark asks them too.

use std::fmt::Debug;

use mainstay_db::{AssertSqlSafe, Db, Decimal, Engine as Kind, Row, Value};
use mainstay_route::shard::Shards;

const ROWS: i64 = 240;
const COLUMNS: [&str; 5] = ["id", "a", "b", "c", "d"];

type Whole = (i64, Option<i64>, Option<f64>, Option<String>, i64);
type Grouped<K> = (Option<K>, i64, Option<f64>, Option<String>, Option<f64>, Option<f64>, i64);

/// Some shards, one database with all of their rows, and questions to both.
pub struct World {
    shards: Shards,
    one: Db,
    rng: fastrand::Rng,
    /// What makes the order of a text that of its bytes.
    bytes: &'static str,
}

/// A statement with its values.
#[derive(Clone, Debug, Default)]
struct Ask {
    sql: String,
    values: Vec<i64>,
    limited: bool,
}

impl World {
    /// Of empty databases, which it fills.
    pub async fn new(shards: Shards, one: Db, seed: u64) -> Self {
        let bytes = match shards.engine() {
            Kind::Sqlite => "",
            Kind::Postgres => " COLLATE \"C\"",
            Kind::MySql => " COLLATE utf8mb4_bin",
        };
        let mut world = Self { shards, one, rng: fastrand::Rng::with_seed(seed), bytes };
        world.fill().await;
        world
    }

    /// Few values, so that there are ties and NULLs; quarters, so that sums are exact.
    async fn fill(&mut self) {
        const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, a BIGINT, b DOUBLE PRECISION, c VARCHAR(20), d BIGINT NOT NULL)";
        let table = |db: Db| async move { db.script(TABLE).await };
        self.shards.everywhere(table).await.unwrap();
        table(self.one.clone()).await.unwrap();
        let first = self.shards.names().swap_remove(0);
        let words = ["", "a", "B", "b", "ab", "\u{e9}", "Zo\u{eb}", "10", "9"];
        for id in 0..ROWS {
            let rng = &mut self.rng;
            let a = (rng.u8(..5) > 0).then(|| rng.i64(-4..5));
            let b = (rng.u8(..5) > 0).then(|| rng.i32(-20..20)).map(|n| f64::from(n) / 4.0);
            let c = (rng.u8(..5) > 0).then(|| words[rng.usize(..words.len())].to_owned());
            let d = rng.i64(0..4);
            // All of one value on one shard: what comes first in an order may all be there.
            let home = if d == 0 {
                self.shards.shard(&first).unwrap()
            } else {
                self.shards.of(&id).unwrap()
            };
            for db in [&home, &self.one] {
                let insert = db.query("INSERT INTO t (id, a, b, c, d) VALUES ($1, $2, $3, $4, $5)");
                insert.bind(id).bind(a).bind(b).bind(c.clone()).bind(d).execute().await.unwrap();
            }
        }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())]
    }

    fn filter(&mut self, ask: &mut Ask) {
        let n = self.rng.i64(-3..6);
        let mut bind = |value: i64| {
            ask.values.push(value);
            format!("${}", ask.values.len())
        };
        let filter = match self.rng.u8(..7) {
            0 => format!("a > {}", bind(n)),
            1 => format!("d <> {} AND (b IS NULL OR b < {})", bind(n), bind(n)),
            2 => format!("id >= {} OR a = {}", bind(n * 40), bind(n)),
            3 => "c IN ('a', 'b', ' FROM ')".to_owned(),
            4 => format!("a IS NOT NULL /* LIMIT 3 */ AND d = {}", n.abs()),
            _ => return,
        };
        ask.sql += &format!(" WHERE {filter}");
    }

    fn ordered_by(&mut self, key: &str) -> String {
        let mut out = key.to_owned();
        out += self.pick(&["", " ASC", " DESC"]);
        if self.shards.engine() != Kind::MySql {
            out += self.pick(&["", "", " NULLS FIRST", " NULLS LAST"]);
        }
        out
    }

    fn limit(&mut self, ask: &mut Ask) {
        let (limit, offset) = (self.rng.i64(0..40), self.rng.i64(0..30));
        ask.limited = true;
        match self.rng.u8(..6) {
            0 => ask.sql += &format!(" LIMIT {limit}"),
            1 => ask.sql += &format!(" LIMIT {limit} OFFSET {offset}"),
            2 => {
                ask.values.extend([offset, limit]);
                let n = ask.values.len();
                ask.sql += &format!(" LIMIT ${n} OFFSET ${}", n - 1);
            }
            3 if self.shards.engine() != Kind::Postgres => {
                ask.sql += &format!(" LIMIT {offset}, {limit}");
            }
            4 => {
                ask.values.push(limit);
                ask.sql += &format!(" limit ${} ;", ask.values.len());
            }
            _ => ask.limited = false,
        }
    }

    /// Rows; also the columns that they are in order by, where no expression is among them.
    fn rows(&mut self) -> (Ask, Vec<usize>, bool) {
        let mut ask = Ask::default();
        let select =
            ["*", "t.*", "id, a, b, c, d", "id, a AS x, b, c AS y, d", "id, a, b, c, d + 0"];
        let select = self.pick(&select);
        ask.sql = format!("SELECT {select} FROM t");
        self.filter(&mut ask);
        let mut by: Vec<String> = Vec::new();
        let mut plain = Vec::new();
        for _ in 0..self.rng.u8(1..4) {
            let at = self.rng.usize(1..5);
            let renamed = select.contains(" AS ");
            let key = match (self.rng.u8(..8), at) {
                (0, _) => "a + d".to_owned(),
                (1, _) => "COALESCE(a, 99)".to_owned(),
                (2, _) if select.starts_with("id") && at != 3 => (at + 1).to_string(),
                (_, 3) if renamed && self.bytes.is_empty() => "y".to_owned(),
                (_, 3) => format!("c{}", self.bytes),
                (_, 1) if renamed => "x".to_owned(),
                (_, at) => COLUMNS[at].to_owned(),
            };
            if !key.starts_with("COALESCE") && key != "a + d" {
                plain.push(at);
            }
            by.push(self.ordered_by(&key));
        }
        let whole = self.rng.u8(..10) < 7;
        if whole {
            let key = self.pick(&["id", "t.id", "id + 0"]);
            by.push(self.ordered_by(key));
        }
        if by.len() != plain.len() + usize::from(whole) {
            plain.clear();
        }
        ask.sql += &format!(" ORDER BY {}", by.join(", "));
        self.limit(&mut ask);
        (ask, plain, whole)
    }

    async fn compare_rows(&mut self) -> Result<(), String> {
        let (ask, plain, whole) = self.rows();
        let mut there = self.one.query(AssertSqlSafe(ask.sql.clone()));
        let mut here = self.shards.scatter().query(AssertSqlSafe(ask.sql.clone()));
        for value in &ask.values {
            there = there.bind(*value);
            here = here.bind(*value);
        }
        let there = there.all::<Whole>().await.map_err(|e| ask.failed(&e))?;
        let here = here.all::<Whole>().await.map_err(|e| ask.failed(&e))?.rows;
        if whole {
            return ask.same(&here, &there);
        }
        // Equal ones may be in any order, and where there is a limit any of them may be given.
        let key = |row: &Whole| plain.iter().map(|at| shown(row, *at)).collect::<Vec<_>>();
        let keys = |rows: &[Whole]| rows.iter().map(key).collect::<Vec<_>>();
        ask.same(&keys(&here), &keys(&there))?;
        if !ask.limited {
            let sorted = |mut rows: Vec<Whole>| {
                rows.sort_by_key(|row| row.0);
                rows
            };
            ask.same(&sorted(here), &sorted(there))?;
        }
        Ok(())
    }

    /// Groups by a number or by a text, or of all.
    fn groups(&mut self) -> (Ask, bool) {
        let mut ask = Ask::default();
        let text = self.rng.bool();
        let c = format!("c{}", self.bytes);
        let key = if text { c.as_str() } else { self.pick(&["d", "a", "t.d", "a % 3", "id % 5"]) };
        ask.sql = format!(
            "SELECT {key} AS k, COUNT(*) AS n, SUM(a), MIN({c}), MAX(b), AVG(b), COUNT(c) FROM t"
        );
        self.filter(&mut ask);
        let by =
            if key.contains(' ') { self.pick(&["1", "k"]) } else { self.pick(&["1", key, "k"]) };
        ask.sql += &format!(" GROUP BY {by}");
        if self.rng.u8(..10) < 8 {
            let other = self.pick(&["", "n", "2", "COUNT(*)", "MAX(b)", "SUM(d)", "AVG(a)", "3"]);
            let mut by = Vec::new();
            if !other.is_empty() {
                by.push(self.ordered_by(other));
            }
            let last = self.pick(&["1", "k"]);
            by.push(self.ordered_by(last));
            ask.sql += &format!(" ORDER BY {}", by.join(", "));
            self.limit(&mut ask);
            (ask, true)
        } else {
            (ask, false)
        }
    }

    async fn compare_groups(&mut self) -> Result<(), String> {
        let (ask, ordered) = self.groups();
        let mut there = self.one.query(AssertSqlSafe(ask.sql.clone()));
        for value in &ask.values {
            there = there.bind(*value);
        }
        let rows = there.rows().await.map_err(|e| ask.failed(&e))?;
        let mut there: Vec<Grouped<String>> = rows.iter().map(grouped).collect();
        let mut here = self.groups_of(&ask).await.map_err(|e| ask.failed(&e))?;
        if !ordered {
            here.sort_by(|a, b| a.0.cmp(&b.0));
            there.sort_by(|a, b| a.0.cmp(&b.0));
        }
        ask.same(&here.len(), &there.len())?;
        for (here, there) in here.iter().zip(&there) {
            let exact = |g: &Grouped<String>| (g.0.clone(), g.1, g.2, g.3.clone(), g.4, g.6);
            ask.same(&exact(here), &exact(there))?;
            let off = here.5.zip(there.5).map_or(0.0, |(here, there)| (here - there).abs());
            if here.5.is_some() != there.5.is_some() || off >= 1e-9 {
                ask.same(&here.5, &there.5)?;
            }
        }
        Ok(())
    }

    async fn groups_of(&self, ask: &Ask) -> mainstay_db::Result<Vec<Grouped<String>>> {
        let mut here = self.shards.scatter().query(AssertSqlSafe(ask.sql.clone()));
        for value in &ask.values {
            here = here.bind(Value::from(*value));
        }
        if ask.sql.starts_with("SELECT c") {
            return Ok(here.groups().await?.rows);
        }
        let rows = here.groups::<Grouped<i64>>().await?.rows;
        let text = |n: Option<i64>| n.map(|n| n.to_string());
        Ok(rows.into_iter().map(|(k, n, a, c, b, d, e)| (text(k), n, a, c, b, d, e)).collect())
    }

    /// Asks both one more question. Errors: the question, and what each answered.
    pub async fn compare(&mut self) -> Result<(), String> {
        if self.rng.u8(..3) > 0 { self.compare_rows().await } else { self.compare_groups().await }
    }
}

impl Ask {
    fn failed(&self, error: &mainstay_db::Error) -> String {
        format!("{self:?}: {error:?}")
    }

    fn same<T: PartialEq + Debug>(&self, shards: &T, one: &T) -> Result<(), String> {
        if shards == one {
            return Ok(());
        }
        Err(format!("{self:?}\nof the shards:       {shards:?}\nof one database: {one:?}"))
    }
}

fn shown(row: &Whole, at: usize) -> String {
    match at {
        1 => format!("{:?}", row.1),
        2 => format!("{:?}", row.2),
        3 => format!("{:?}", row.3),
        _ => format!("{:?}", row.4),
    }
}

/// As one database gives it: a number's type depends on the engine.
fn grouped(row: &Row) -> Grouped<String> {
    let number = |at: usize| {
        let whole = row.at::<Option<i64>>(at).map(|n| n.map(|n| n as f64));
        let float = || row.at::<Option<f64>>(at);
        let exact = || {
            let exact = row.at::<Option<Decimal>>(at);
            exact.map(|n| n.map(|n| n.to_string().parse().unwrap()))
        };
        whole.or_else(|_| float()).or_else(|_| exact()).unwrap()
    };
    let text = |at: usize| {
        let bytes =
            || row.at::<Option<Vec<u8>>>(at).map(|b| b.map(|b| String::from_utf8(b).unwrap()));
        row.at::<Option<String>>(at).or_else(|_| bytes())
    };
    let key = text(0).unwrap_or_else(|_| number(0).map(|n| (n as i64).to_string()));
    let count = |at| number(at).unwrap() as i64;
    (key, count(1), number(2), text(3).unwrap(), number(4), number(5), count(6))
}
