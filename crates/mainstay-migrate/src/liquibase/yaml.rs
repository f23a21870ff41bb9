//! Changelogs in YAML and JSON, read into the neutral tree.
//!
//! JSON is read as the YAML it is. Plain scalars mean what they mean to Liquibase's own reader, which
//! is YAML 1.1, in [`scalar`](super::scalar).

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_core::{Error, Result};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::location::Location;
use super::node::Node;
use super::scalar;

/// Changelogs nest about fifteen deep; what nests deeper is no changelog.
const DEPTH: usize = 64;
/// What aliases may multiply a file to.
const ITEMS: usize = 1_000_000;

/// The tree of a YAML or JSON file, from its key `databaseChangeLog`.
pub(super) fn parse(text: &str, file: &Arc<str>) -> Result<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let events = Parser::new_from_str(text);
    let mut reader = Reader { events, file, anchors: HashMap::new(), items: 0 };
    let start = Location::new(file, 1);
    let Some(root) = reader.document()? else {
        return Err(start.error("the file is empty").fix("begin it with databaseChangeLog:"));
    };
    let Data::Map(entries) = root.data else {
        return Err(start.error("the file is no mapping").fix("begin it with databaseChangeLog:"));
    };
    for (key, item) in entries {
        if key == "databaseChangeLog" {
            return node(key, item, file);
        }
    }
    Err(start
        .error("the file has no databaseChangeLog")
        .fix("put the change sets under the key databaseChangeLog"))
}

#[derive(Clone)]
struct Item {
    data: Data,
    line: usize,
}

#[derive(Clone)]
enum Data {
    Scalar { text: Option<String>, timestamp: bool },
    List(Vec<Item>),
    Map(Vec<(String, Item)>),
}

struct Reader<'a, I> {
    events: I,
    file: &'a Arc<str>,
    anchors: HashMap<usize, Item>,
    items: usize,
}

impl<'e, I> Reader<'_, I>
where
    I: Iterator<Item = std::result::Result<(Event<'e>, Span), ScanError>>,
{
    fn error(&self, line: usize, what: &str) -> Error {
        Location::new(self.file, line).error(what).fix("correct the YAML at the line named")
    }

    fn next(&mut self) -> Result<(Event<'e>, usize)> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(e)) => Err(self
                .error(e.marker().line(), "the YAML is not well-formed")
                .why(e.info().to_owned())),
            None => Err(self.error(1, "the YAML ends too early")),
        }
    }

    /// The first document; a second one would be lost, and is refused.
    fn document(&mut self) -> Result<Option<Item>> {
        let mut root = None;
        loop {
            let (event, line) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    return Err(self.error(line, "the file has more than one document"));
                }
                event => root = Some(self.item(event, line, 0)?),
            }
        }
    }

    fn item(&mut self, event: Event<'e>, line: usize, depth: usize) -> Result<Item> {
        self.items += 1;
        if depth > DEPTH {
            return Err(self.error(line, "the keys nest too deep"));
        }
        let (data, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, line),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (Self::scalar(&text, plain), anchor)
            }
            Event::SequenceStart(anchor, ..) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, ..) => (self.map(depth)?, anchor),
            _ => return Err(self.error(line, "something is missing here")),
        };
        let item = Item { data, line };
        if anchor != 0 {
            self.anchors.insert(anchor, item.clone());
        }
        Ok(item)
    }

    fn scalar(text: &str, plain: bool) -> Data {
        let (text, timestamp) =
            if plain { scalar::plain(text) } else { (Some(text.to_owned()), false) };
        Data::Scalar { text, timestamp }
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<Item> {
        let Some(item) = self.anchors.get(&anchor).cloned() else {
            return Err(self.error(line, "the alias stands inside of what it names"));
        };
        self.items += size(&item);
        if self.items > ITEMS {
            return Err(self.error(line, "the aliases make the file too large"));
        }
        Ok(item)
    }

    fn list(&mut self, depth: usize) -> Result<Data> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Data::List(items)),
                (event, line) => items.push(self.item(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Data> {
        let mut entries: Vec<(String, Item)> = Vec::new();
        loop {
            let (key, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Data::Map(entries)),
                (Event::Scalar(text, ..), line) => (text.into_owned(), line),
                (_, line) => return Err(self.error(line, "a key is no plain name")),
            };
            if key == "<<" {
                return Err(self.error(line, "keys can't be merged with <<"));
            }
            if entries.iter().any(|(k, _)| *k == key) {
                return Err(self.error(line, &format!("the key '{key}' stands here twice")));
            }
            let (event, value_line) = self.next()?;
            let mut item = self.item(event, value_line, depth + 1)?;
            // The place of an entry is that of its key: a block begins a line later.
            item.line = line;
            entries.push((key, item));
        }
    }
}

fn size(item: &Item) -> usize {
    match &item.data {
        Data::Scalar { .. } => 1,
        Data::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Data::Map(entries) => 1 + entries.iter().map(|(_, i)| size(i)).sum::<usize>(),
    }
}

/// The node that a key and its value make; what a list holds belongs to the list's key.
fn node(name: String, item: Item, file: &Arc<str>) -> Result<Node> {
    let mut node = Node::new(name, Location::new(file, item.line));
    match item.data {
        Data::Scalar { text, timestamp } => {
            node.value = text;
            node.timestamp = timestamp;
        }
        Data::Map(entries) => push(&mut node, entries, file)?,
        Data::List(items) => {
            for item in items {
                let line = item.line;
                match item.data {
                    Data::Map(entries) => push(&mut node, entries, file)?,
                    Data::Scalar { .. } => {
                        let inner = self::node(String::new(), item, file)?;
                        node.children.push(inner);
                    }
                    Data::List(_) => {
                        return Err(Location::new(file, line)
                            .error("a list stands directly in a list")
                            .fix("take one of the two dashes away"));
                    }
                }
            }
        }
    }
    Ok(node)
}

fn push(node: &mut Node, entries: Vec<(String, Item)>, file: &Arc<str>) -> Result<()> {
    for (key, item) in entries {
        let child = self::node(key, item, file)?;
        node.children.push(child);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_keys_become_children() {
        let text = "databaseChangeLog:\n- changeSet:\n    id: 1.10\n    changes:\n    - empty:\n    \
                    - sql: select 3\n    - insert:\n        columns:\n        - column: {name: a}\n";
        let root = parse(text, &"a.yaml".into()).unwrap();
        let set = root.child("changeSet").unwrap();
        assert_eq!((set.at.line, set.text("id")), (2, Some("1.1")));
        let changes = &set.child("changes").unwrap().children;
        let names: Vec<_> = changes.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["empty", "sql", "insert"]);
        assert_eq!(changes[1].value.as_deref(), Some("select 3"));
        let column = &changes[2].child("columns").unwrap().children[0];
        assert_eq!((column.name.as_str(), column.text("name")), ("column", Some("a")));
    }

    #[test]
    fn json_is_read_too() {
        let text = "{\"databaseChangeLog\": [{\"changeSet\": {\"id\": \"1\", \"author\": \"a\"}}]}";
        let root = parse(text, &"a.json".into()).unwrap();
        assert_eq!(root.child("changeSet").unwrap().text("author"), Some("a"));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let refused = |text: &str| parse(text, &"a.yaml".into()).unwrap_err().what().to_owned();
        assert!(refused("databaseChangeLog:\n  a: 1\n  a: 2\n").starts_with("a.yaml:3: "));
        assert!(refused("other: 1\n").contains("no databaseChangeLog"));
        assert!(refused("").contains("empty"));
        assert!(refused("databaseChangeLog: [\n").starts_with("a.yaml:"));
    }

    #[test]
    fn aliases_are_followed_but_not_without_end() {
        let text = "databaseChangeLog:\n- a: &x {b: 1}\n- c: *x\n";
        let root = parse(text, &"a.yaml".into()).unwrap();
        assert_eq!(root.child("c").unwrap().text("b"), Some("1"));
        let mut bomb =
            String::from("databaseChangeLog:\n- a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let of = format!("*a{}", i - 1);
            bomb += &format!("- a{i}: &a{i} {{k: [{}]}}\n", [of.as_str(); 10].join(", "));
        }
        assert!(parse(&bomb, &"a.yaml".into()).is_err());
    }
}
