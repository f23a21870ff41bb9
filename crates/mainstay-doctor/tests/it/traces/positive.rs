//! Traces with an N+1.

use serde_json::{Value, json};

use super::make::{Call, Kind, Maker};

pub const KINDS: &[Kind] = &[
    ("plain", plain),
    ("spawned", spawned),
    ("all at once", all_at_once),
    ("two levels", two_levels),
    ("uuid", uuid),
    ("hashed", hashed),
    ("texts", texts),
    ("literals", literals),
    ("returned is not told", silent),
    ("another dialect", another_dialect),
    ("two parents", two_parents),
    ("values repeat", values_repeat),
    ("a constant beside", a_constant_beside),
    ("some of the rows", some_of_the_rows),
    ("no scope", no_scope),
    ("no scope in the tasks", no_scope_in_the_tasks),
    ("two loops", two_loops),
    ("in a transaction", in_a_transaction),
    ("a list of one", a_list_of_one),
    ("other names", other_names),
    ("with failures", with_failures),
    ("steps in each turn", steps_in_each_turn),
    ("three rows", three_rows),
    ("of what was inserted", of_what_was_inserted),
    ("in a table of the lab", in_a_table_of_the_lab),
];

fn list(m: &mut Maker, sql: &str, column: &'static str, keys: &[Value]) {
    m.noise();
    let site = m.site();
    m.run(Call {
        site,
        sql: sql.into(),
        rows: keys.len() as u64,
        returned: vec![(column, keys.to_vec())],
        ..Call::default()
    });
}

fn child(site: &str, sql: &str, binds: Vec<Value>) -> Call {
    Call { site: site.into(), sql: sql.into(), binds, rows: 1, ..Call::default() }
}

const POSTS: &str = "SELECT id, title FROM posts ORDER BY created_at DESC LIMIT 50";
const COMMENTS: &str = "SELECT id, text FROM comments WHERE post_id = $1";

fn expect(m: &mut Maker) -> String {
    let site = m.site();
    m.expected.insert(site.clone());
    site
}

fn each(m: &mut Maker, sql: &str, keys: &[Value]) {
    let site = expect(m);
    for key in keys {
        m.run(child(&site, sql, vec![key.clone()]));
    }
    m.noise();
}

fn plain(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    each(m, COMMENTS, &keys);
}

/// Mainstay's own tables are passed over, those that are there to be told of are not.
fn in_a_table_of_the_lab(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, "SELECT id FROM mainstay_lab_7_0_authors", "id", &keys);
    each(m, "SELECT title FROM mainstay_lab_7_1_books WHERE author_id = $1", &keys);
}

fn spawned(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    let site = expect(m);
    for (n, key) in keys.iter().enumerate() {
        m.on_task(20 + n as u64);
        m.begin(child(&site, COMMENTS, vec![key.clone()]));
        let us = m.below(60) as u64;
        m.wait(us);
    }
    m.wait(3000);
}

fn all_at_once(m: &mut Maker) {
    let n = m.some();
    let mut keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    keys.reverse();
    let site = expect(m);
    for key in &keys {
        m.begin(child(&site, COMMENTS, vec![key.clone()]));
    }
    m.wait(3000);
}

fn two_levels(m: &mut Maker) {
    let keys = m.keys(6);
    list(m, "SELECT id FROM orders WHERE user_id = 5", "id", &keys);
    let (items, products) = (expect(m), expect(m));
    for order in &keys {
        let skus = m.keys(2);
        let mut call =
            child(&items, "SELECT product_id FROM items WHERE order_id = $1", vec![order.clone()]);
        call.returned = vec![("product_id", skus.clone())];
        call.rows = 2;
        m.run(call);
        for sku in skus {
            m.run(child(&products, "SELECT name FROM products WHERE id = $1", vec![sku]));
        }
    }
}

fn uuid(m: &mut Maker) {
    let n = m.some();
    let keys = m.uuids(n);
    list(m, "SELECT id FROM carts", "id", &keys);
    each(m, "SELECT * FROM cart_lines WHERE cart = $1", &keys);
}

fn hashed(m: &mut Maker) {
    m.hashed = true;
    plain(m);
}

fn texts(m: &mut Maker) {
    let keys: Vec<Value> = (0..m.some()).map(|n| json!(format!("sku-{n:03}"))).collect();
    list(m, "SELECT sku FROM basket WHERE owner = $1", "sku", &keys);
    each(m, "SELECT price FROM prices WHERE sku = $1", &keys);
}

fn literals(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    let site = expect(m);
    for key in &keys {
        m.run(child(&site, &format!("SELECT * FROM comments WHERE post_id = {key}"), vec![]));
    }
}

fn silent(m: &mut Maker) {
    m.silent = true;
    let n = m.some().max(6);
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    each(m, COMMENTS, &keys);
}

fn another_dialect(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, "SELECT `id` FROM `posts` LIMIT 50", "id", &keys);
    each(m, "SELECT `c`.* FROM `comments` `c` WHERE `c`.`post_id` = ? AND `c`.`gone` = 0", &keys);
}

fn two_parents(m: &mut Maker) {
    let (shops, goods) = (m.keys(4), m.keys(5));
    list(m, "SELECT id FROM shops", "id", &shops);
    list(m, "SELECT id FROM products", "id", &goods);
    let site = expect(m);
    for shop in &shops {
        for good in &goods {
            let sql = "SELECT n FROM stock WHERE shop_id = $1 AND product_id = $2";
            m.run(child(&site, sql, vec![shop.clone(), good.clone()]));
        }
    }
}

fn values_repeat(m: &mut Maker) {
    let authors = m.keys(4);
    let of_posts: Vec<Value> = (0..20).map(|n| authors[n % 4].clone()).collect();
    list(m, "SELECT id, author_id FROM posts LIMIT 20", "author_id", &of_posts);
    each(m, "SELECT name FROM users WHERE id = $1", &of_posts);
}

fn a_constant_beside(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    let site = expect(m);
    for key in &keys {
        let sql = "SELECT * FROM comments WHERE tenant_id = $1 AND post_id = $2 AND hidden = false";
        m.run(child(&site, sql, vec![json!(7), key.clone()]));
    }
}

fn some_of_the_rows(m: &mut Maker) {
    let keys = m.keys(40);
    list(m, POSTS, "id", &keys);
    let some: Vec<Value> = keys.iter().step_by(4).cloned().collect();
    each(m, COMMENTS, &some);
}

fn no_scope(m: &mut Maker) {
    m.in_scope(None);
    plain(m);
}

fn no_scope_in_the_tasks(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    let site = expect(m);
    m.in_scope(None);
    for (n, key) in keys.iter().enumerate() {
        m.on_task(50 + n as u64);
        m.begin(child(&site, COMMENTS, vec![key.clone()]));
    }
    m.wait(3000);
}

fn two_loops(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    each(m, COMMENTS, &keys);
    each(m, "SELECT count(*) FROM likes WHERE post_id = $1", &keys);
}

fn in_a_transaction(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    let site = expect(m);
    for key in &keys {
        let mut call =
            child(&site, "SELECT * FROM comments WHERE post_id = $1 FOR UPDATE", vec![key.clone()]);
        call.tx = Some(77);
        m.run(call);
    }
}

fn a_list_of_one(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    each(m, "SELECT * FROM comments WHERE post_id IN ($1)", &keys);
}

fn other_names(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, "SELECT t.id AS ticket FROM tickets t", "ticket", &keys);
    each(m, "SELECT * FROM seats WHERE reserved_for = $1", &keys);
}

fn with_failures(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    let site = expect(m);
    for (n, key) in keys.iter().enumerate() {
        if n % 3 == 0 {
            let mut call = child(&site, COMMENTS, vec![key.clone()]);
            call.error = Some("DB-021");
            m.run(call);
        }
        m.run(child(&site, COMMENTS, vec![key.clone()]));
    }
}

fn steps_in_each_turn(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, POSTS, "id", &keys);
    let (first, second) = (expect(m), expect(m));
    for key in &keys {
        m.run(child(&first, COMMENTS, vec![key.clone()]));
        m.run(child(&second, "SELECT sum(n) FROM votes WHERE post_id = $1", vec![key.clone()]));
        m.noise();
    }
}

fn three_rows(m: &mut Maker) {
    let keys = m.keys(3);
    list(m, POSTS, "id", &keys);
    each(m, COMMENTS, &keys);
}

fn of_what_was_inserted(m: &mut Maker) {
    let n = m.some();
    let keys = m.keys(n);
    list(m, "INSERT INTO orders (user_id) SELECT id FROM users RETURNING id", "id", &keys);
    each(m, "SELECT total FROM order_totals WHERE order_id = $1", &keys);
}
