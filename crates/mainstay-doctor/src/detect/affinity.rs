//! Whether a column that was returned and one that is asked for are likely the same key, by their names.

/// How likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Affinity {
    /// Nothing speaks for it.
    None,
    /// Both are keys.
    Possible,
    /// One refers to the other.
    Likely,
}

/// Columns of few values, which are equal to small keys by chance.
const SMALL: &[&str] = &[
    "status",
    "state",
    "type",
    "kind",
    "page",
    "day",
    "month",
    "year",
    "week",
    "hour",
    "shard",
    "bucket",
    "level",
    "priority",
    "rank",
    "position",
    "quantity",
    "amount",
    "size",
    "version",
    "attempt",
    "step",
    "partition",
    "locale",
    "lang",
    "language",
    "currency",
    "country",
];

/// Between the column `returned` of `from`, and `asked` of `of`.
pub(super) fn affinity(
    returned: &str,
    from: Option<&str>,
    asked: Option<&str>,
    of: Option<&str>,
) -> Affinity {
    let Some(asked) = asked else { return Affinity::Possible };
    let returned = returned.rsplit('.').next().unwrap_or(returned).to_ascii_lowercase();
    let asked = asked.to_ascii_lowercase();
    if is_small(&asked) {
        return Affinity::None;
    }
    let (key, other) = (is_plain_key(&returned), is_plain_key(&asked));
    match (key, other) {
        // The same rows again, or a table whose key is another's.
        (true, true) if from == of => Affinity::Likely,
        (true, true) => Affinity::None,
        (true, false) => refers(&asked, from),
        (false, true) => refers(&returned, of),
        (false, false) if returned == asked => Affinity::Likely,
        (false, false) => match (stem(&returned), stem(&asked)) {
            // `product` as the key of products, `product_id` of what refers to it.
            (a, b) if a == b => Affinity::Likely,
            _ if is_reference(&returned) && is_reference(&asked) => Affinity::Possible,
            _ => Affinity::None,
        },
    }
}

/// Whether a column is of few values.
pub(super) fn is_small(column: &str) -> bool {
    let last = column.rsplit('_').next().unwrap_or(column);
    SMALL.contains(&column) || SMALL.contains(&last)
}

/// Whether the column `name` refers to the table by its name.
fn refers(name: &str, table: Option<&str>) -> Affinity {
    let Some(table) = table else { return Affinity::Possible };
    let stem = stem(name);
    if same_thing(stem, table) {
        return Affinity::Likely;
    }
    if is_reference(name) { Affinity::Possible } else { Affinity::None }
}

fn is_plain_key(name: &str) -> bool {
    matches!(name, "id" | "uuid" | "key" | "pk" | "_id" | "guid" | "oid" | "rowid" | "uid")
}

fn is_reference(name: &str) -> bool {
    stem(name).len() < name.len()
}

fn stem(name: &str) -> &str {
    ["_id", "_uuid", "_key", "_pk", "_guid", "_uid", "_fk", "_ref", "_code", "id"]
        .iter()
        .find_map(|end| name.strip_suffix(end).filter(|s| !s.is_empty()))
        .unwrap_or(name)
}

/// `order` and `orders`, `order` and `shop_orders`, `category` and `categories`.
fn same_thing(stem: &str, table: &str) -> bool {
    let one = singular(table);
    let last = one.rsplit('_').next().unwrap_or(&one);
    stem == one
        || stem == table
        || stem == last
        || one == stem.trim_end_matches('_')
        || stem.rsplit('_').next() == Some(one.as_str())
}

fn singular(table: &str) -> String {
    for (many, one) in
        [("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("people", "person")]
    {
        if let Some(stem) = table.strip_suffix(many) {
            return format!("{stem}{one}");
        }
    }
    table.strip_suffix('s').unwrap_or(table).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_refers_to_what() {
        let of = |returned, from, asked, of| affinity(returned, Some(from), Some(asked), Some(of));
        assert_eq!(of("id", "posts", "post_id", "comments"), Affinity::Likely);
        assert_eq!(of("author_id", "posts", "id", "users"), Affinity::Possible);
        assert_eq!(of("category_id", "products", "id", "categories"), Affinity::Likely);
        assert_eq!(of("product_id", "items", "product_id", "stock"), Affinity::Likely);
        assert_eq!(of("id", "orders", "id", "orders"), Affinity::Likely);
        assert_eq!(of("id", "orders", "id", "warehouses"), Affinity::None);
        assert_eq!(of("id", "orders", "status", "payments"), Affinity::None);
        assert_eq!(of("id", "users", "author_id", "posts"), Affinity::Possible);
    }
}
