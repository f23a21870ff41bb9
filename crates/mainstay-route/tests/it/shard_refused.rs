//! What can't be asked of all shards, each with the place in the statement that is named.

use mainstay_core::{Code, Error};
use mainstay_db::{AssertSqlSafe, Db};
use mainstay_route::shard::{Map, Shards};

async fn refused(sql: &str) -> Error {
    let db = Db::connect("sqlite::memory:").await.unwrap();
    let shards = Shards::builder(Map::even(["a"]).unwrap()).shard("a", db);
    let shards = shards.reference(&["products"]).build().unwrap();
    let asked = shards.scatter().query(AssertSqlSafe(sql.to_owned()));
    let rows = asked.all::<(i64,)>().await.map(drop);
    let asked = shards.scatter().query(AssertSqlSafe(sql.to_owned()));
    let groups = asked.groups::<(i64,)>().await.map(drop);
    // Of the two, one is for the other kind of statement; where both refuse for that, nothing was refused.
    let kinds = ["groups are no rows of a shard", "the statement has no aggregates"];
    let mut errors = [rows, groups].into_iter().filter_map(Result::err);
    errors.find(|e| !kinds.contains(&e.what())).unwrap_or_else(|| panic!("not refused: {sql}"))
}

#[tokio::test]
async fn what_cant_be_put_together_is_refused_at_its_place() {
    let cases = [
        ("DELETE FROM t", "DELETE FROM"),
        ("SELECT a FROM t UNION ALL SELECT b FROM u", "UNION"),
        ("SELECT DISTINCT a FROM t", "DISTINCT"),
        ("SELECT a, COUNT(*) FROM t GROUP BY a HAVING COUNT(*) > 1", "HAVING COUNT(*) > 1"),
        ("SELECT ROW_NUMBER() OVER (ORDER BY a) FROM t", "ROW_NUMBER() OVER (ORDER BY a)"),
        ("SELECT COUNT(DISTINCT a) FROM t", "COUNT(DISTINCT a)"),
        ("SELECT GROUP_CONCAT(a) FROM t", "GROUP_CONCAT(a)"),
        ("SELECT SUM(a) + 1 FROM t", "SUM(a)"),
        ("SELECT a, COUNT(*) FROM t GROUP BY b", "a"),
        ("SELECT *, COUNT(*) FROM t GROUP BY a", "*"),
        ("SELECT a, COUNT(*) FROM t GROUP BY a ORDER BY c", "c"),
        ("SELECT a FROM t LIMIT 5 OFFSET 5", "OFFSET"),
        ("SELECT a FROM t ORDER BY a LIMIT 1 + 1", "1 + 1"),
        ("SELECT *, a FROM t ORDER BY 2", "2"),
        ("SELECT b AS a FROM t ORDER BY a + 1", "a + 1"),
        ("SELECT a FROM (SELECT a FROM t LIMIT 3) x", "SELECT a FROM t LIMIT 3"),
        ("SELECT a FROM t WHERE a > (SELECT AVG(a) FROM t)", "AVG(a)"),
        ("WITH x AS (SELECT a FROM t GROUP BY a) SELECT a FROM x", "SELECT a FROM t GROUP BY a"),
        ("SELECT id FROM products", "products"),
        ("SELECT p.id FROM products p LEFT JOIN t ON t.a = p.id", "LEFT JOIN"),
        ("SELECT 1", "no FROM"),
        ("SELECT a FROM t; SELECT b FROM t", "the text"),
    ];
    for (sql, place) in cases {
        let error = refused(sql).await;
        assert_eq!(error.code(), Code::ShardMerge, "{sql}: {error:?}");
        let why = error.reason().unwrap_or_default();
        assert!(why.starts_with("here: ") && why.contains(place), "{sql}: {error:?}");
        assert!(error.place().is_some_and(|place| place.file().ends_with("shard_refused.rs")));
    }
    assert_eq!(refused("SELEC a FROM t").await.code(), Code::ShardMerge);
}
