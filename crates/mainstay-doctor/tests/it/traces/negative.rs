//! Traces without an N+1 that look as though they had one.

use serde_json::{Value, json};

use super::make::{Call, Kind, Maker};

pub const KINDS: &[Kind] = &[
    ("tried again", tried_again),
    ("a transaction tried again", a_transaction_tried_again),
    ("polled", polled),
    ("polled for work", polled_for_work),
    ("batches of IN", batches_of_in),
    ("batches of ANY", batches_of_any),
    ("batches by range", batches_by_range),
    ("a loader", a_loader),
    ("the same again", the_same_again),
    ("the same for each row", the_same_for_each_row),
    ("many statements of one key", many_statements_of_one_key),
    ("pages by offset", pages_by_offset),
    ("pages by key", pages_by_key),
    ("pages by number", pages_by_number),
    ("values of the client", values_of_the_client),
    ("small values", small_values),
    ("two of one row", two_of_one_row),
    ("a chain", a_chain),
    ("the list comes after", the_list_comes_after),
    ("of another request", of_another_request),
    ("inserts", inserts),
    ("many requests of one key each", many_requests),
    ("shards", shards),
    ("months", months),
];

fn run(
    m: &mut Maker,
    site: &str,
    sql: &str,
    binds: Vec<Value>,
    returned: Vec<(&'static str, Vec<Value>)>,
) {
    let rows = returned.first().map_or(1, |(_, v)| v.len() as u64);
    m.run(Call { site: site.into(), sql: sql.into(), binds, rows, returned, ..Call::default() });
}

fn list(m: &mut Maker, sql: &str, column: &'static str, keys: &[Value]) {
    m.noise();
    let site = m.site();
    run(m, &site, sql, vec![], vec![(column, keys.to_vec())]);
}

const POSTS: &str = "SELECT id, title FROM posts LIMIT 50";
const COMMENTS: &str = "SELECT id, text FROM comments WHERE post_id = $1";

fn tried_again(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    let site = m.site();
    for n in 0..5 {
        let error = (n < 4).then_some("DB-021");
        let binds = vec![keys[0].clone()];
        m.run(Call { site: site.clone(), sql: COMMENTS.into(), binds, error, ..Call::default() });
        m.wait(1000 << n);
    }
    m.noise();
}

fn a_transaction_tried_again(m: &mut Maker) {
    let keys = m.keys(1);
    let (a, b) = (m.site(), m.site());
    for n in 0..4 {
        let tx = Some(10 + n);
        let sql = "SELECT id, version FROM accounts WHERE owner = $1".to_owned();
        let returned = vec![("id", keys.clone())];
        m.run(Call {
            site: a.clone(),
            sql,
            binds: vec![json!("ada")],
            rows: 1,
            returned,
            tx,
            ..Call::default()
        });
        let sql = "SELECT sum(cents) FROM entries WHERE account_id = $1".to_owned();
        let error = (n < 3).then_some("DB-030");
        m.run(Call {
            site: b.clone(),
            sql,
            binds: keys.clone(),
            rows: 1,
            error,
            tx,
            ..Call::default()
        });
    }
}

fn polled(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, "SELECT id FROM exports", "id", &keys);
    let site = m.site();
    for _ in 0..m.some() {
        run(m, &site, "SELECT state FROM exports WHERE id = $1", vec![keys[0].clone()], vec![]);
        m.wait(500_000);
    }
}

fn polled_for_work(m: &mut Maker) {
    let (claim, load) = (m.site(), m.site());
    for key in m.keys(12) {
        let sql = "UPDATE tasks SET taken = true WHERE id = (SELECT id FROM tasks WHERE NOT taken \
                   LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id";
        run(m, &claim, sql, vec![], vec![("id", vec![key.clone()])]);
        run(m, &load, "SELECT payload FROM task_bodies WHERE task_id = $1", vec![key], vec![]);
        m.wait(200_000);
    }
}

fn batches_of_in(m: &mut Maker) {
    let keys = m.keys(35);
    list(m, POSTS, "id", &keys);
    let site = m.site();
    for chunk in keys.chunks(10) {
        let marks: Vec<String> = (1..=chunk.len()).map(|n| format!("${n}")).collect();
        let sql = format!("SELECT * FROM comments WHERE post_id IN ({})", marks.join(", "));
        run(m, &site, &sql, chunk.to_vec(), vec![("post_id", chunk.to_vec())]);
    }
}

fn batches_of_any(m: &mut Maker) {
    let keys = m.keys(40);
    list(m, POSTS, "id", &keys);
    let site = m.site();
    for chunk in keys.chunks(8) {
        let sql = "SELECT * FROM comments WHERE post_id = ANY($1)";
        run(m, &site, sql, vec![json!(chunk)], vec![("post_id", chunk.to_vec())]);
    }
}

fn batches_by_range(m: &mut Maker) {
    let bounds = m.keys(9);
    list(m, "SELECT min(id) AS id FROM events GROUP BY bucket", "id", &bounds);
    let site = m.site();
    for pair in bounds.windows(2) {
        let sql = "SELECT * FROM events WHERE id >= $1 AND id < $2";
        run(m, &site, sql, pair.to_vec(), vec![]);
    }
}

fn a_loader(m: &mut Maker) {
    let keys = m.keys(30);
    list(m, POSTS, "id", &keys);
    let site = m.site();
    run(
        m,
        &site,
        "SELECT * FROM comments WHERE post_id = ANY($1)",
        vec![json!(keys)],
        vec![("post_id", keys.clone())],
    );
    let site = m.site();
    run(
        m,
        &site,
        "SELECT * FROM likes WHERE post_id = ANY($1)",
        vec![json!(keys)],
        vec![("post_id", keys)],
    );
}

fn the_same_again(m: &mut Maker) {
    let keys = m.keys(1);
    let site = m.site();
    for _ in 0..8 {
        run(
            m,
            &site,
            "SELECT plan FROM tenants WHERE id = $1",
            keys.clone(),
            vec![("plan", vec![json!(3)])],
        );
    }
}

fn the_same_for_each_row(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    let site = m.site();
    for _ in &keys {
        run(m, &site, "SELECT plan FROM tenants WHERE id = $1", vec![keys[0].clone()], vec![]);
    }
}

fn many_statements_of_one_key(m: &mut Maker) {
    let keys = m.keys(1);
    list(m, "SELECT id FROM users WHERE mail = $1", "id", &keys);
    for table in ["orders", "carts", "reviews", "addresses", "coupons", "wishes"] {
        let site = m.site();
        let sql = format!("SELECT count(*) FROM {table} WHERE user_id = $1");
        run(m, &site, &sql, keys.clone(), vec![]);
    }
}

fn pages_by_offset(m: &mut Maker) {
    let site = m.site();
    for page in 0..8 {
        let keys = m.keys(20);
        let binds = vec![json!(20), json!(page * 20)];
        run(
            m,
            &site,
            "SELECT id FROM posts ORDER BY id LIMIT $1 OFFSET $2",
            binds,
            vec![("id", keys)],
        );
    }
}

fn pages_by_key(m: &mut Maker) {
    let site = m.site();
    let mut last = json!(0);
    for _ in 0..8 {
        let keys = m.keys(20);
        let sql = "SELECT id FROM posts WHERE id > $1 ORDER BY id LIMIT 20";
        run(m, &site, sql, vec![last], vec![("id", keys.clone())]);
        last = keys[19].clone();
    }
}

fn pages_by_number(m: &mut Maker) {
    let site = m.site();
    for page in 1..8 {
        let keys = (1..=30).map(|n| json!(n)).collect();
        run(
            m,
            &site,
            "SELECT id FROM archive WHERE page = $1",
            vec![json!(page)],
            vec![("id", keys)],
        );
    }
}

fn values_of_the_client(m: &mut Maker) {
    m.noise();
    let site = m.site();
    for key in m.uuids(14) {
        run(m, &site, "SELECT * FROM photos WHERE id = $1", vec![key], vec![]);
    }
}

fn small_values(m: &mut Maker) {
    let keys: Vec<Value> = (1..=5).map(|n| json!(n)).collect();
    list(m, POSTS, "id", &keys);
    let site = m.site();
    for status in 1..=5 {
        run(m, &site, "SELECT count(*) FROM orders WHERE status = $1", vec![json!(status)], vec![]);
    }
}

fn two_of_one_row(m: &mut Maker) {
    let keys = m.keys(2);
    m.noise();
    let (first, second) = (m.site(), m.site());
    let returned = vec![("from_id", vec![keys[0].clone()]), ("to_id", vec![keys[1].clone()])];
    run(m, &first, "SELECT from_id, to_id FROM transfers WHERE id = $1", vec![json!(9)], returned);
    for key in keys {
        run(m, &second, "SELECT balance FROM accounts WHERE id = $1", vec![key], vec![]);
    }
}

fn a_chain(m: &mut Maker) {
    let keys = m.keys(9);
    let site = m.site();
    for pair in keys.windows(2) {
        let sql = "SELECT next_id FROM steps WHERE id = $1";
        run(m, &site, sql, vec![pair[0].clone()], vec![("next_id", vec![pair[1].clone()])]);
    }
}

fn the_list_comes_after(m: &mut Maker) {
    let keys = m.uuids(6);
    let site = m.site();
    for key in &keys {
        run(m, &site, "SELECT * FROM photos WHERE id = $1", vec![key.clone()], vec![]);
    }
    list(m, "SELECT id FROM photos", "id", &keys);
}

fn of_another_request(m: &mut Maker) {
    let keys = m.keys(12);
    m.in_scope(Some((71, "GET /posts")));
    list(m, POSTS, "id", &keys);
    let site = m.site();
    for (n, key) in keys.into_iter().enumerate() {
        m.in_scope(Some((100 + n as u64, "GET /posts/{id}")));
        run(m, &site, COMMENTS, vec![key], vec![]);
    }
}

fn inserts(m: &mut Maker) {
    m.noise();
    let site = m.site();
    for key in m.keys(12) {
        run(
            m,
            &site,
            "INSERT INTO lines (id, text) VALUES ($1, $2)",
            vec![key, json!("x")],
            vec![],
        );
    }
}

fn many_requests(m: &mut Maker) {
    let (first, second) = (m.site(), m.site());
    for (n, key) in m.keys(15).into_iter().enumerate() {
        m.in_scope(Some((200 + n as u64, "GET /me")));
        run(
            m,
            &first,
            "SELECT id FROM users WHERE token = $1",
            vec![json!("t")],
            vec![("id", vec![key.clone()])],
        );
        run(m, &second, "SELECT * FROM carts WHERE user_id = $1", vec![key], vec![]);
    }
}

fn shards(m: &mut Maker) {
    let keys: Vec<Value> = (0..40).map(|n| json!(n)).collect();
    list(m, "SELECT id FROM customers", "id", &keys);
    let site = m.site();
    for shard in 0..8 {
        run(m, &site, "SELECT count(*) FROM events WHERE shard = $1", vec![json!(shard)], vec![]);
    }
}

fn months(m: &mut Maker) {
    let keys: Vec<Value> = (1..=30).map(|n| json!(n)).collect();
    list(m, "SELECT id FROM reports", "id", &keys);
    let site = m.site();
    for month in 1..=6 {
        let sql = "SELECT sum(cents) FROM invoices WHERE year = $1 AND month = $2";
        run(m, &site, sql, vec![json!(2026), json!(month)], vec![]);
    }
}
