//! Eager loading: what belongs to each of a list, by one more query for all of them.

use std::collections::HashMap;

use mainstay_core::{Code, Error, Place, Result};
use mainstay_db::{Db, FromRow};

use super::key::ToKey;
use super::statement::{Rows, Statement};

/// For each parent its children, in the order of the statement: one-to-many, with one query for up to 1024
/// distinct keys. Works on a pool's handle, a replica's and inside a transaction alike.
///
/// A parent without a key (`None`) and one that nothing belongs to have no children; parents with the same
/// key have the same ones. More than 1024 keys are several statements, which see the same data only inside a
/// transaction of at least REPEATABLE READ.
///
/// Cancel safe: it only reads.
///
/// Errors: those of a statement; LOAD-003 where it has not one `IN ($keys)`, where a row's first column is
/// NULL or a key that was not asked for.
///
/// ```
/// # use mainstay_db::{Db, FromRow};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let db = Db::connect("sqlite::memory:").await?;
/// # db.script("CREATE TABLE item (order_id INTEGER, sku TEXT NOT NULL);
/// #            INSERT INTO item VALUES (1, 'lamp'), (1, 'cup')").await?;
/// use mainstay_load::{Rows, load_many};
///
/// struct Order { id: i64 }
/// #[derive(Clone, FromRow)]
/// struct Item { sku: String }
///
/// let orders = [Order { id: 1 }, Order { id: 2 }];
/// let rows = Rows::new("SELECT order_id, sku FROM item WHERE sku <> $1 AND order_id IN ($keys)").bind("cup");
/// let items: Vec<Vec<Item>> = load_many(&db, &orders, |order| order.id, rows).await?;
/// for (order, items) in orders.iter().zip(&items) {
///     println!("{}: {} items", order.id, items.len());
/// }
/// assert_eq!((items[0].len(), items[1].len()), (1, 0));
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
#[track_caller]
pub fn load_many<'d, P, K, C>(
    db: &'d Db,
    parents: &[P],
    key: impl Fn(&P) -> K,
    rows: impl Into<Rows>,
) -> impl Future<Output = Result<Vec<Vec<C>>>> + Send + 'd
where
    K: ToKey,
    C: FromRow + Clone + 'd,
{
    let (place, wanted, rows) = (Place::here(), Wanted::of(parents, key), rows.into());
    async move {
        let groups = wanted.groups(db, rows, place).await?;
        Ok(wanted.hand_out(groups, Vec::new()))
    }
}

/// For each parent the one row that it refers to, or `None`: many-to-one, with one query as
/// [`load_many`]. For one-to-one a JOIN in the first query is better still.
///
/// Cancel safe: it only reads.
///
/// Errors: as [`load_many`]; DB-007 where a key has several rows.
///
/// ```
/// # use mainstay_db::{Db, FromRow};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let db = Db::connect("sqlite::memory:").await?;
/// # db.script("CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
/// #            INSERT INTO customer VALUES (7, 'Ada')").await?;
/// use mainstay_load::load_one;
///
/// struct Order { customer: Option<i64> }
/// #[derive(Clone, FromRow)]
/// struct Customer { name: String }
///
/// let orders = [Order { customer: Some(7) }, Order { customer: None }, Order { customer: Some(7) }];
/// let sql = "SELECT id, name FROM customer WHERE id IN ($keys)";
/// let customers: Vec<Option<Customer>> = load_one(&db, &orders, |order| order.customer, sql).await?;
/// let name = |at: usize| customers[at].as_ref().map(|customer| customer.name.as_str());
/// assert_eq!([name(0), name(1), name(2)], [Some("Ada"), None, Some("Ada")]);
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
#[track_caller]
pub fn load_one<'d, P, K, C>(
    db: &'d Db,
    parents: &[P],
    key: impl Fn(&P) -> K,
    rows: impl Into<Rows>,
) -> impl Future<Output = Result<Vec<Option<C>>>> + Send + 'd
where
    K: ToKey,
    C: FromRow + Clone + 'd,
{
    let (place, wanted, rows) = (Place::here(), Wanted::of(parents, key), rows.into());
    async move {
        let groups = wanted.groups(db, rows, place).await?;
        let mut ones = Vec::with_capacity(groups.len());
        for mut group in groups {
            ones.push(group.pop());
            if !group.is_empty() {
                let what = "several rows of a key where at most one was asked for";
                return Err(Error::new(Code::TooManyRows, what).at(place));
            }
        }
        Ok(wanted.hand_out(ones, None))
    }
}

/// The keys of the parents, each once, and which parent has which.
struct Wanted<K> {
    keys: Vec<K>,
    parents: Vec<Option<usize>>,
}

impl<K: super::Key> Wanted<K> {
    fn of<P, T: ToKey<Key = K>>(parents: &[P], key: impl Fn(&P) -> T) -> Self {
        let (mut keys, mut index) = (Vec::new(), HashMap::new());
        let mut place = |parent: &P| {
            let key = key(parent).to_key()?;
            Some(*index.entry(key.clone()).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            }))
        };
        let parents = parents.iter().map(&mut place).collect();
        Self { keys, parents }
    }

    /// The rows of each key.
    async fn groups<C: FromRow>(&self, db: &Db, rows: Rows, place: Place) -> Result<Vec<Vec<C>>> {
        let statement = Statement::new::<K>(rows, db.engine()).map_err(|e| e.at(place))?;
        statement.groups(db, &self.keys, place).await
    }

    /// Each parent's own. Only what several have is cloned.
    fn hand_out<T: Clone>(&self, of_keys: Vec<T>, none: T) -> Vec<T> {
        let mut uses = vec![0usize; of_keys.len()];
        self.parents.iter().flatten().for_each(|at| uses[*at] += 1);
        let mut of_keys: Vec<Option<T>> = of_keys.into_iter().map(Some).collect();
        let mut take = |at: &Option<usize>| {
            let at = (*at)?;
            uses[at] -= 1;
            if uses[at] == 0 { of_keys[at].take() } else { of_keys[at].clone() }
        };
        self.parents.iter().map(|at| take(at).unwrap_or_else(|| none.clone())).collect()
    }
}
