//! Makes traces: statements of several requests with the time between them, in the format that is
//! documented, values raw or hashed.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// A kind of trace: its name, and how one is made.
pub type Kind = (&'static str, fn(&mut Maker));

/// One trace that is being made.
pub struct Maker {
    rng: fastrand::Rng,
    lines: Vec<(u64, Value)>,
    /// Where the next statement begins.
    pub now: u64,
    scope: Option<(u64, String)>,
    task: u64,
    pub expected: BTreeSet<String>,
    /// Values are told as hashes.
    pub hashed: bool,
    /// What statements returned is not told.
    pub silent: bool,
    line: u32,
}

/// How one statement comes.
#[derive(Clone, Default)]
pub struct Call {
    pub site: String,
    pub sql: String,
    pub binds: Vec<Value>,
    pub rows: u64,
    pub returned: Vec<(&'static str, Vec<Value>)>,
    pub error: Option<&'static str>,
    pub tx: Option<u64>,
}

impl Maker {
    pub fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = 1_790_000_000_000_000 + rng.u64(0..1_000_000);
        let scope = Some((rng.u64(1..1000), format!("GET /{}", rng.u8(0..9))));
        Self {
            line: rng.u32(10..400),
            rng,
            lines: Vec::new(),
            now,
            scope,
            task: 1,
            expected: BTreeSet::new(),
            hashed: false,
            silent: false,
        }
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.rng.usize(0..n)
    }

    /// How many rows a list has.
    pub fn some(&mut self) -> usize {
        self.rng.usize(4..40)
    }

    /// A place that no other statement has.
    pub fn site(&mut self) -> String {
        self.line += self.rng.u32(1..30);
        let file = ["src/orders.rs", "src/api/users.rs", "services/shop/src/feed.rs"];
        format!("{}:{}", file[self.below(3)], self.line)
    }

    /// Keys as a table has them: from somewhere on, with gaps, in the order of a list.
    pub fn keys(&mut self, n: usize) -> Vec<Value> {
        let mut key =
            if self.rng.bool() { self.rng.u64(1..50) } else { self.rng.u64(10_000..9_000_000) };
        let mut all = Vec::new();
        for _ in 0..n {
            key += self.rng.u64(1..6);
            all.push(json!(key));
        }
        if self.rng.bool() {
            self.rng.shuffle(&mut all);
        }
        all
    }

    pub fn uuids(&mut self, n: usize) -> Vec<Value> {
        let id = |rng: &mut fastrand::Rng| {
            let (a, b) = (rng.u64(..), rng.u64(..));
            let hex = format!("{a:016x}{b:016x}");
            format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            )
        };
        (0..n).map(|_| json!(id(&mut self.rng))).collect()
    }

    /// Runs as another task of the same request.
    pub fn on_task(&mut self, task: u64) {
        self.task = task;
    }

    /// Another request; `None` is none.
    pub fn in_scope(&mut self, scope: Option<(u64, &str)>) {
        self.scope = scope.map(|(id, name)| (id, name.to_owned()));
    }

    pub fn wait(&mut self, us: u64) {
        self.now += us;
    }

    fn told(&self, value: &Value) -> Value {
        if !self.hashed || value.is_null() || value.is_array() {
            return value.clone();
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        json!(format!("{hash:016x}"))
    }

    /// Runs a statement to its end.
    pub fn run(&mut self, call: Call) {
        let took = self.begin(call);
        self.now += took + self.rng.u64(5..400);
    }

    /// Begins a statement beside others; how long it takes.
    #[expect(clippy::needless_pass_by_value, reason = "calls are made where they are run")]
    pub fn begin(&mut self, call: Call) -> u64 {
        let took = self.rng.u64(80..2500);
        let binds: Vec<Value> = call.binds.iter().map(|v| self.told(v)).collect();
        let returned: Map<String, Value> = call
            .returned
            .iter()
            .map(|(column, values)| {
                ((*column).to_owned(), values.iter().map(|v| self.told(v)).collect())
            })
            .collect();
        let returned = if self.silent { Value::Null } else { Value::Object(returned) };
        let scope = self.scope.as_ref().map(|(id, name)| json!({ "id": id, "name": name }));
        let line = json!({
            "at_us": self.now, "dur_us": took, "scope": scope, "task": self.task, "tx": call.tx,
            "conn": self.rng.u32(1..9), "site": call.site, "sql": call.sql, "binds": binds,
            "rows": call.rows, "returned": returned, "error": call.error,
        });
        self.lines.push((self.now, line));
        took
    }

    /// What any request does besides: who it is for, a setting, a count.
    pub fn noise(&mut self) {
        for _ in 0..self.below(4) {
            let site = format!("src/session.rs:{}", 10 + self.below(5));
            let key = json!(self.rng.u64(1..5000));
            let (sql, column) = [
                ("SELECT id, name FROM users WHERE id = $1", "id"),
                ("SELECT value FROM settings WHERE name = $1", "value"),
                ("SELECT count(*) FROM notifications WHERE user_id = $1", "count"),
            ][self.below(3)];
            let returned = vec![(column, vec![key.clone()])];
            self.run(Call {
                site,
                sql: sql.into(),
                binds: vec![key],
                rows: 1,
                returned,
                ..Call::default()
            });
        }
    }

    /// Another request between these, with a list of its own and nothing wrong.
    fn others(&mut self) {
        let (begin, end) = (self.lines.first().map_or(0, |l| l.0), self.now);
        let scope = self.scope.clone();
        for n in 0..self.below(4) as u64 {
            self.scope = Some((5000 + n, "GET /health".to_owned()));
            self.task = 900 + n;
            let after = self.now;
            self.now = begin + self.rng.u64(0..(end - begin).max(1));
            let keys = self.keys(5);
            let list = Call {
                site: "src/health.rs:7".into(),
                sql: "SELECT id FROM queues ORDER BY id".into(),
                rows: 5,
                returned: vec![("id", keys.clone())],
                ..Call::default()
            };
            self.run(list);
            let load = Call {
                site: "src/health.rs:9".into(),
                sql: "SELECT queue_id, depth FROM depths WHERE queue_id = ANY($1)".into(),
                binds: vec![json!(keys)],
                rows: 5,
                returned: vec![("queue_id", keys)],
                ..Call::default()
            };
            self.run(load);
            self.now = after;
        }
        self.scope = scope;
    }

    /// The trace: lines a little out of order, as several threads write them.
    pub fn lines(mut self) -> String {
        if self.scope.is_some() {
            self.others();
        }
        let mut lines = std::mem::take(&mut self.lines);
        if self.rng.bool() {
            self.rng.shuffle(&mut lines);
        }
        let lines: Vec<String> = lines.iter().map(|(_, line)| line.to_string()).collect();
        lines.join("\n")
    }
}
