//! Changelogs in XML, read into the neutral tree.
//!
//! It checks that the XML is well-formed and no more: document types, and with them entities of the
//! file's own, are refused.

use std::sync::Arc;

use mainstay_core::Result;
use roxmltree::Document;

use super::location::Location;
use super::node::Node;

/// Changelogs nest about ten deep; what nests deeper is no changelog.
const DEPTH: usize = 64;

/// The tree of an XML file.
pub(super) fn parse(text: &str, file: &Arc<str>) -> Result<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = Document::parse(text).map_err(|e| {
        Location::new(file, e.pos().row as usize)
            .error("the XML is not well-formed")
            .why(e.to_string())
            .fix("correct the XML at the line named")
    })?;
    let reader = Reader { breaks: breaks(text), file };
    reader.element(document.root_element(), 0)
}

struct Reader<'a> {
    /// The offset of each line break, in order.
    breaks: Vec<usize>,
    file: &'a Arc<str>,
}

impl Reader<'_> {
    fn at(&self, offset: usize) -> Location {
        Location::new(self.file, self.breaks.partition_point(|b| *b < offset) + 1)
    }

    fn element(&self, element: roxmltree::Node<'_, '_>, depth: usize) -> Result<Node> {
        let mut node = Node::new(element.tag_name().name(), self.at(element.range().start));
        if depth > DEPTH {
            return Err(node.at.error("the elements nest too deep").fix("take elements apart"));
        }
        // Attributes with a namespace, such as xsi:schemaLocation, are for XML tools.
        for attribute in element.attributes().filter(|a| a.namespace().is_none()) {
            let at = node.at.clone();
            node.children.push(Node::leaf(attribute.name(), attribute.value(), at));
        }
        let mut text = String::new();
        for child in element.children() {
            if child.is_element() {
                node.children.push(self.element(child, depth + 1)?);
            } else if child.is_text() {
                text += child.text().unwrap_or_default();
            }
        }
        node.value = Some(text.trim()).filter(|t| !t.is_empty()).map(str::to_owned);
        Ok(node)
    }
}

fn breaks(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACE: &str = "http://www.liquibase.org/xml/ns/dbchangelog";

    #[test]
    fn attributes_and_elements_become_children_with_their_lines() {
        let text = format!(
            "<?xml version=\"1.0\"?>\n<databaseChangeLog xmlns=\"{NAMESPACE}\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"x y\">\n  \
             <changeSet id=\"1\">\n    <sql>  select 1 &lt; 2\n <!-- no --></sql></changeSet>\n\
             </databaseChangeLog>"
        );
        let root = parse(&text, &"a.xml".into()).unwrap();
        assert_eq!((root.name.as_str(), root.children.len()), ("databaseChangeLog", 1));
        let set = root.child("changeSet").unwrap();
        assert_eq!((set.at.line, set.text("id")), (3, Some("1")));
        let sql = set.child("sql").unwrap();
        assert_eq!((sql.at.line, sql.value.as_deref()), (4, Some("select 1 < 2")));
    }

    #[test]
    fn what_is_not_well_formed_is_named_with_its_line() {
        let error = parse("<a>\n<b>\n</a>", &"a.xml".into()).unwrap_err();
        assert!(error.what().starts_with("a.xml:3: "), "{error}");
        let entity = "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>";
        assert!(parse(entity, &"a.xml".into()).is_err());
    }
}
