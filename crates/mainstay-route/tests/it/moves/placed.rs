//! Whatever the placement: the rows that move are those that the map means. And whatever the types of their columns.

use mainstay_core::Code;
use mainstay_db::{AssertSqlSafe, Db, Engine as Kind};
use mainstay_route::shard::moves::{Mover, State};
use mainstay_route::shard::{Key, Map, ToKey};
use mainstay_testkit::Engine;
use uuid::Uuid;

use super::support::{Two, count, nothing_left};

crate::on_servers!(
    a_pin_a_segment_an_entry_and_a_region_move,
    keys_are_numbers_texts_and_uuids,
    values_of_every_type_are_the_same,
);

const ROWS: i64 = 300;

/// Rows with these keys, all on `a`; those of the first one's logical shard are moved.
async fn moved(two: &Two, columns: &str, key: &[&str], keys: Vec<(String, Key<'_>)>) {
    for db in [&two.a, &two.b] {
        for sql in [
            "DROP TABLE IF EXISTS rows_here".to_owned(),
            format!("CREATE TABLE rows_here (id BIGINT PRIMARY KEY, {columns})"),
        ] {
            db.query(AssertSqlSafe(sql)).execute().await.unwrap();
        }
    }
    let logical = two.shards.logical(&keys[0].1).unwrap();
    assert_eq!(two.shards.map().owner(logical), Some("a"));
    let mut own = Vec::new();
    let values: Vec<String> =
        keys.iter().enumerate().map(|(id, (values, _))| format!("({id}, {values})")).collect();
    let insert = format!("INSERT INTO rows_here VALUES {}", values.join(", "));
    two.a.query(AssertSqlSafe(insert)).execute().await.unwrap();
    for (id, (_, key)) in (0_i64..).zip(&keys) {
        if two.shards.logical(key).ok() == Some(logical) {
            own.push(id);
        }
    }
    assert!(!own.is_empty() && own.len() < keys.len(), "{} of {}", own.len(), keys.len());
    let mover = Mover::new(two.shards.clone(), two.store.clone())
        .table("rows_here", key)
        .grace(std::time::Duration::ZERO)
        // Each is written once more while it goes on: the triggers' SQL must mean the same rows.
        .on({
            let a = two.a.clone();
            move |p| {
                if p.state == State::CatchingUp
                    && p.step == mainstay_route::shard::moves::Step::Entered
                {
                    let a = a.clone();
                    tokio::task::block_in_place(|| {
                        tokio::runtime::Handle::current().block_on(async {
                            a.query("UPDATE rows_here SET touched = 1").execute().await.unwrap();
                        });
                    });
                }
            }
        });
    mover.start(logical, "b").await.unwrap_or_else(|e| panic!("{}", e.report()));
    let there: Vec<(i64,)> =
        two.b.query("SELECT id FROM rows_here WHERE touched = 1 ORDER BY id").all().await.unwrap();
    assert_eq!(there.into_iter().map(|(id,)| id).collect::<Vec<_>>(), own);
    // And those that are shut are the same.
    let shut = two
        .a
        .query(AssertSqlSafe(format!("UPDATE rows_here SET touched = 2 WHERE id = {}", own[0])));
    assert_eq!(shut.execute().await.unwrap_err().code(), Code::ShardStale);
    mover.finish(logical).await.unwrap();
    assert_eq!(count(&two.a, "rows_here").await, keys.len() as i64 - own.len() as i64);
    two.a.query("UPDATE rows_here SET touched = 3").execute().await.unwrap();
    nothing_left(two).await;
}

async fn of(two: &Two, columns: &str, rows: &[(String, (&'static str, i64))]) {
    moved(
        two,
        columns,
        &["tenant", "n"],
        rows.iter().map(|(v, k)| (v.clone(), k.to_key())).collect(),
    )
    .await;
}

async fn a_pin_a_segment_an_entry_and_a_region_move(engine: Engine) {
    let map = Map::hash([("a", 0..4096)]).unwrap().with_empty("b", None).unwrap();
    let two = Two::with(engine, map.pin("it's", "a").unwrap()).await;
    let pair = |tenant: &'static str, n: i64| {
        (format!("'{}', {n}, 0", tenant.replace('\'', "''")), (tenant, n).to_key().bytes().to_vec())
    };
    let columns = "tenant VARCHAR(20), n BIGINT, touched INT";
    let all = |tenants: [&'static str; 3]| {
        let each = (0..ROWS).map(move |n| (tenants[n as usize % 3], n));
        each.map(|(tenant, n)| (pair(tenant, n).0, (tenant, n))).collect::<Vec<_>>()
    };
    let rows = all(["it's", "globex", "initech"]);
    of(&two, columns, &rows).await;
    two.end().await;

    let two = Two::with(
        engine,
        Map::range("a", [("h", "a"), ("p", "a")]).unwrap().with_empty("b", None).unwrap(),
    )
    .await;
    let rows = all(["initech", "globex", "zeta"]);
    of(&two, columns, &rows).await;
    two.end().await;

    let entries = Map::directory([("acme", "a"), ("globex", "a"), ("initech", "a")]).unwrap();
    let two = Two::with(engine, entries.with_empty("b", None).unwrap()).await;
    let rows = all(["acme", "globex", "initech"]);
    of(&two, columns, &rows).await;
    two.end().await;

    let countries = Map::list(
        [("a", "eu"), ("b", "eu"), ("c", "us")],
        [("DE", "eu"), ("FR", "eu"), ("US", "us")],
    )
    .unwrap();
    let mut map = countries;
    // All of the region on `a`, and those of the other with a database too.
    for logical in 0..4096 {
        if map.owner(logical) == Some("b") {
            map = map.assign(logical, "a").unwrap();
        }
    }
    let two = Two::with(engine, map).await;
    let rows: Vec<_> = (0..6000)
        .map(|n| (["DE", "FR"][n as usize % 2], n))
        .map(|(t, n)| (pair(t, n).0, (t, n)))
        .collect();
    of(&two, columns, &rows).await;
    let error =
        Mover::new(two.shards.clone(), two.store.clone()).table("rows_here", &["tenant", "n"]);
    let logical = two.shards.logical(&("DE", 1)).unwrap();
    assert_eq!(error.start(logical, "c").await.unwrap_err().code(), Code::ShardResidency);
    two.end().await;
}

async fn keys_are_numbers_texts_and_uuids(engine: Engine) {
    let map = Map::range("a", [(100_i64, "a"), (200, "a")]).unwrap().with_empty("b", None).unwrap();
    let two = Two::with(engine, map).await;
    let rows: Vec<i64> = (120..120 + ROWS).collect();
    let keys = rows.iter().map(|n| (format!("{n}, 0"), n.to_key())).collect();
    moved(&two, "k INT, touched INT", &["k"], keys).await;
    two.end().await;

    let two = Two::new(engine).await;
    let ids: Vec<Uuid> =
        (0..9000_u128).map(|n| Uuid::from_u128(n * 0x1234_5678_9abc_def1_2345)).collect();
    let (kind, literal): (_, fn(&Uuid) -> String) = if two.a.engine() == Kind::Postgres {
        ("UUID", |id| format!("'{id}', 0"))
    } else {
        ("BINARY(16)", |id| format!("X'{}', 0", id.simple()))
    };
    let keys = ids.iter().map(|id| (literal(id), id.to_key())).collect();
    moved(&two, &format!("k {kind}, touched INT"), &["k"], keys).await;
    let texts: Vec<String> = (0..9000).map(|n| format!("Zo\u{eb}\\' {n} \u{1f980}")).collect();
    let literal = |t: &String| {
        let hex = t.bytes().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
        if two.a.engine() == Kind::Postgres {
            format!("convert_from('\\x{hex}'::bytea, 'UTF8'), 0")
        } else {
            format!("CONVERT(X'{hex}' USING utf8mb4), 0")
        }
    };
    let keys = texts.iter().map(|t| (literal(t), t.to_key())).collect();
    let column = if two.a.engine() == Kind::Postgres {
        "k TEXT, touched INT"
    } else {
        "k VARCHAR(60) CHARACTER SET utf8mb4, touched INT"
    };
    moved(&two, column, &["k"], keys).await;
    // Blanks are a key, whatever a comparison takes them for.
    let texts: Vec<String> =
        std::iter::once("  ".to_owned()).chain((0..9).map(|n| format!("{n}"))).collect();
    let keys = texts.iter().map(|t| (literal(t), t.to_key())).collect();
    moved(&two, column, &["k"], keys).await;
    two.end().await;
}

const POSTGRES: &str = "CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
    CREATE DOMAIN cents AS BIGINT CHECK (VALUE >= 0);
    CREATE TABLE \"odd \"\" table\" (\"the key\" BIGINT NOT NULL, \"n;o\" INT GENERATED ALWAYS AS IDENTITY, b BOOLEAN, s SMALLINT, f4 REAL, f8 DOUBLE PRECISION,
    num NUMERIC(30, 10), big NUMERIC, c CHAR(5), v VARCHAR(9), t TEXT, bin BYTEA, d DATE, tm TIME(6), ts TIMESTAMP, tz TIMESTAMPTZ,
    iv INTERVAL, u UUID, j JSON, jb JSONB, arr INT[], texts TEXT[], m mood, dc cents, ip INET, r INT4RANGE, bits BIT(5), vb BIT VARYING, mny MONEY, x XML,
    PRIMARY KEY (\"the key\", \"n;o\"))";
const POSTGRES_ROWS: [&str; 3] = [
    "true, -32768, 0.1, 1e300, 123456789012.0123456789, 1e40, 'ab', 'x', 'a\\b''c', '\\x00ff27', '2024-02-29', '23:59:59.999999', 'infinity', '2024-01-01 00:00:00.123456+02',
     '1 mon -3 days 04:05:06.789', '0192d5c8-0000-7000-8000-000000000001', '{\"a\": 1,  \"a\": 2}', '{\"z\": [1, null]}', '{1,NULL,3}', '{\"a,b\",\"NULL\",\"\"}', 'it''s ok', 5, '10.0.0.1/8', '[1,5)', B'10101', B'1', '12.34', '<a>b</a>'",
    "NULL, NULL, 'NaN', '-Infinity', NULL, 'NaN', '', '', '', '', '0044-03-15 BC', NULL, '-infinity', NULL, NULL, NULL, 'null', NULL, '{}', NULL, NULL, NULL, NULL, 'empty', NULL, B'', NULL, NULL",
    "false, 0, 3.4028235e38, 0.30000000000000004, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '[0:1]={7,8}', NULL, 'sad', 0, NULL, NULL, NULL, NULL, NULL, NULL",
];
const MARIADB: &str = "CREATE TABLE `odd `` table` (`the key` BIGINT NOT NULL, `n;o` INT NOT NULL AUTO_INCREMENT, b BOOLEAN, s SMALLINT UNSIGNED, f4 FLOAT, f8 DOUBLE,
    num DECIMAL(30, 10), z INT ZEROFILL, c CHAR(5), v VARCHAR(9) CHARACTER SET latin1, t TEXT CHARACTER SET utf8mb4, bin VARBINARY(20), bl BLOB, d DATE, tm TIME(6), ts TIMESTAMP(6) NULL, dt DATETIME(3),
    y YEAR, u UUID, j JSON, e ENUM('sad', '1', 'it''s ok'), st SET('a', 'b'), ip INET6, bits BIT(10), big BIGINT UNSIGNED,
    PRIMARY KEY (`n;o`, `the key`))";
const MARIADB_ROWS: [&str; 3] = [
    "true, 65535, 0.1, 1e300, 12345678901234567890.0123456789, 42, 'ab', 'é', 'a\\\\b''c 🦀', X'00FF27', X'00', '2024-02-29', '-838:59:59.999999', '2024-01-01 00:00:00.123456', '9999-12-31 23:59:59.999',
     2024, '0192d5c8-0000-7000-8000-000000000001', '{\"a\": 1}', '1', 'a,b', '::1', b'1000000001', 18446744073709551615",
    "NULL, NULL, -3.4028234e38, 0.30000000000000004, NULL, NULL, '', '', '', '', '', NULL, NULL, NULL, NULL, NULL, NULL, 'null', NULL, '', NULL, NULL, NULL",
    "false, 0, 1.5, -0.0, 0, 0, NULL, NULL, NULL, NULL, NULL, '2000-01-01', '00:00:00', NULL, NULL, 1901, NULL, NULL, 'it''s ok', 'b', NULL, b'0', 0",
];

async fn values_of_every_type_are_the_same(engine: Engine) {
    let two = Two::new(engine).await;
    let postgres = two.a.engine() == Kind::Postgres;
    let name = if postgres { "odd \" table" } else { "odd ` table" };
    let quoted = if postgres { "\"odd \"\" table\"" } else { "`odd `` table`" };
    for db in [&two.a, &two.b] {
        db.script(if postgres { POSTGRES } else { MARIADB }).await.unwrap();
    }
    let key = super::support::keys(super::support::LOGICAL, 1)[0];
    for (n, row) in if postgres { POSTGRES_ROWS } else { MARIADB_ROWS }.iter().enumerate() {
        let n = n + 1;
        let overriding = if postgres { " OVERRIDING SYSTEM VALUE" } else { "" };
        let sql = format!("INSERT INTO {quoted}{overriding} VALUES ({key}, {n}, {row})");
        two.a.query(AssertSqlSafe(sql)).execute().await.unwrap();
    }
    let dump = |db: Db| async move {
        let sql = if postgres {
            "SELECT whole::text FROM \"odd \"\" table\" whole ORDER BY \"n;o\""
        } else {
            "SELECT CONCAT_WS('|', `the key`, `n;o`, b, s, CAST(f4 AS DOUBLE), f8, num, z, HEX(c), HEX(v), HEX(t), HEX(bin), HEX(bl), d, tm, ts, dt, y, u, j, e, e + 0, st, ip, bits + 0, big) \
             FROM `odd `` table` ORDER BY `n;o`"
        };
        let rows: Vec<(String,)> = db.query(sql).all().await.unwrap();
        rows
    };
    let before = dump(two.a.clone()).await;
    assert_eq!(before.len(), 3);
    let mover =
        Mover::new(two.shards.clone(), two.store.clone()).table(name, &["the key"]).chunk(2);
    mover.start(super::support::LOGICAL, "b").await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(dump(two.b.clone()).await, before);
    two.end().await;
}
