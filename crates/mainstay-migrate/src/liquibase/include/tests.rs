//! Includes, their order and their circles.

use super::*;
use crate::liquibase::testing::{Files, POSTGRES, SQLITE};
use crate::liquibase::{Options, history};

fn yaml(body: &str) -> String {
    format!("databaseChangeLog:\n{body}")
}

fn empty(id: &str) -> String {
    format!("- changeSet: {{id: {id}, author: a, changes: [{{empty: {{}}}}]}}\n")
}

fn ids(log: &ChangeLog) -> Vec<(&str, &str)> {
    log.sets.iter().map(|s| (s.id.as_str(), s.file.as_str())).collect()
}

#[test]
fn files_are_included_in_their_order() {
    let root = format!(
        "{}- include: {{file: db/inc.yaml, context: ic, labels: il}}\n\
         - include: {{file: \"classpath:db/cp.xml\"}}\n- includeAll: {{path: db/all}}\n{}",
        empty("1"),
        "- changeSet: {id: 2, author: a, runOrder: first, logicalFilePath: /logical/two.xml}\n"
    );
    let inc = "- changeSet: {id: i, author: a, context: x or y, labels: q}\n\
               - include: {file: ../top.yaml, relativeToChangelogFile: true, context: c2}\n";
    let xml = "<databaseChangeLog><changeSet id='cp' author='a'/></databaseChangeLog>";
    let files = Files::default()
        .with("root.yaml", yaml(&root))
        .with("db/inc.yaml", yaml(inc))
        .with("top.yaml", yaml(&format!("- logicalFilePath: logi/top\n{}", empty("top"))))
        .with("db/cp.xml", xml)
        .with("db/all/b.yaml", yaml(&empty("b")))
        .with("db/all/Z.yaml", yaml(&empty("Z")))
        .with("db/all/a10.yaml", yaml(&empty("a10")))
        .with("db/all/a2.yaml", yaml(&empty("a2")))
        .with("db/all/deep/c.yaml", yaml(&empty("c")))
        .with("db/all/raw.sql", "select 42\n")
        .with("db/all/f.sql", "--liquibase formatted sql\n--changeset a:f1\nselect 1;\n")
        .with("db/all/readme.txt", "no changelog");
    let log = files.load("./root.yaml").unwrap();
    let want = [
        ("2", "logical/two.xml"),
        ("1", "root.yaml"),
        ("i", "db/inc.yaml"),
        ("top", "logi/top"),
        ("cp", "db/cp.xml"),
        ("Z", "db/all/Z.yaml"),
        ("a10", "db/all/a10.yaml"),
        ("a2", "db/all/a2.yaml"),
        ("b", "db/all/b.yaml"),
        ("c", "db/all/deep/c.yaml"),
        ("f1", "db/all/f.sql"),
        ("raw", "db/all/raw.sql"),
    ];
    assert_eq!(ids(&log), want);
    let named = |id: &str| log.sets.iter().find(|s| s.id == id).unwrap();
    assert_eq!(history::contexts(named("i")).as_deref(), Some("ic AND (x or y)"));
    assert_eq!(history::labels(named("i")).as_deref(), Some("il,q"));
    assert_eq!(history::contexts(named("top")).as_deref(), Some("c2 AND ic"));
    let raw = crate::liquibase::checksum::set(named("raw"), "sqlite");
    assert_eq!(raw, "9:83a5e2b3a4406281f5ea4d323749d993");
}

#[test]
fn properties_hold_from_where_they_are_defined() {
    let root = "- property: {name: tbl, value: first}\n- property: {name: tbl, value: second}\n\
                - property: {name: kind, value: pg, dbms: postgresql}\n\
                - property: {name: kind, value: lite, dbms: sqlite}\n\
                - property: {name: loc, value: mine, global: false}\n\
                - changeSet: {id: 1, author: a, comment: \"${tbl} ${kind} ${loc} ${nope}\"}\n\
                - include: {file: inc.yaml}\n";
    let inc = "- changeSet: {id: 2, author: a, comment: \"${tbl} ${loc}\"}\n";
    let files = Files::default().with("r.yaml", yaml(root)).with("inc.yaml", yaml(inc));
    let comments = |target| {
        let log = load("r.yaml", &files, &Options::new(target)).unwrap();
        log.sets.into_iter().map(|s| s.comment.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(comments(SQLITE), ["first lite mine ${nope}", "first ${loc}"]);
    assert_eq!(comments(POSTGRES)[0], "first pg mine ${nope}");
}

#[test]
fn a_run_means_what_its_options_say() {
    let root = "- changeSet: {id: 1, author: a, context: x}\n\
                - changeSet: {id: 2, author: a, labels: l}\n\
                - changeSet: {id: 3, author: a, dbms: postgresql}\n\
                - changeSet: {id: 4, author: a, ignore: true}\n\
                - include: {file: inc.yaml, context: x, labels: m}\n";
    let files = Files::default().with("r.yaml", yaml(root)).with("inc.yaml", yaml(&empty("5")));
    let log = files.load("r.yaml").unwrap();
    let means = |contexts: &[&str], labels: Option<&str>| -> Vec<String> {
        let options = Options {
            contexts: contexts.iter().map(|c| (*c).to_owned()).collect(),
            labels: labels.map(str::to_owned),
            ..Options::for_tests()
        };
        let sets = log.sets.iter().filter(|s| options.means(s).unwrap());
        sets.map(|s| s.id.clone()).collect()
    };
    assert_eq!(means(&[], None), ["1", "2", "5"]);
    assert_eq!(means(&["y"], None), ["2"]);
    assert_eq!(means(&["x"], Some("m")), ["1", "5"]);
}

#[test]
fn the_labels_of_an_include_pass_by_themselves() {
    let root = "- include: {file: inc.yaml, labels: m}\n";
    let inc = "- changeSet: {id: 1, author: a, labels: l}\n- changeSet: {id: 2, author: a}\n";
    let files = Files::default().with("r.yaml", yaml(root)).with("inc.yaml", yaml(inc));
    let log = files.load("r.yaml").unwrap();
    let means = |labels: &str| -> Vec<&str> {
        let options = Options { labels: Some(labels.to_owned()), ..Options::for_tests() };
        let sets = log.sets.iter().filter(|s| options.means(s).unwrap());
        sets.map(|s| s.id.as_str()).collect()
    };
    assert_eq!(means("m"), ["2"]);
    assert_eq!(means("l"), [""; 0]);
    assert_eq!(means("l or m"), ["1", "2"]);
}

#[test]
fn what_the_history_calls_a_file_has_one_form() {
    let root = "- logicalFilePath: \"classpath:\\\\log\\\\top.yaml\"\n\
                - changeSet: {id: 1, author: a}\n\
                - changeSet: {id: 2, author: a, logicalFilePath: ./two.yaml}\n\
                - include: {file: f.sql}\n- include: {file: raw.sql, logicalFilePath: /log/raw}\n";
    let sql = "--liquibase formatted sql logicalFilePath:/log/f.sql\n--changeset a:f1\nselect 1;\n\
               --changeset a:f2 logicalFilePath:./log//g.sql\nselect 2;\n";
    let files = Files::default()
        .with("r.yaml", yaml(root))
        .with("f.sql", sql)
        .with("raw.sql", "select 42\n");
    let log = files.load("r.yaml").unwrap();
    let want = [
        ("1", "log/top.yaml"),
        ("2", "two.yaml"),
        ("f1", "log/f.sql"),
        ("f2", "log/g.sql"),
        ("raw", "log/raw"),
    ];
    assert_eq!(ids(&log), want);
}

#[test]
fn mistakes_are_named_with_file_and_line() {
    let refused = |body: &str| {
        let files = Files::default()
            .with("r.yaml", yaml(body))
            .with("self.yaml", yaml("- include: {file: self.yaml}\n"));
        files.load("r.yaml").unwrap_err().report()
    };
    let set = |change: &str| {
        format!("- changeSet:\n    id: 1\n    author: a\n    changes:\n    - {change}\n")
    };
    assert!(refused(&set("dropTabel: {tableName: a}")).contains("write 'dropTable'"));
    let unknown = refused(&set("dropTable: {tableName: a, cascade: true}"));
    assert!(unknown.contains("r.yaml:6: the attribute of dropTable 'cascade'"), "{unknown}");
    assert!(refused(&set("dropTable: {}")).contains("r.yaml:6: dropTable has no tableName"));
    assert!(refused(&set("createTable: {tableName: t}")).contains("has no column"));
    assert!(refused(&set("loadData: {tableName: t}")).contains("not supported"));
    assert!(refused(&set("sqlFile: {path: no.sql}")).contains("'no.sql' is not there"));
    assert!(refused(&set("sql: \" \"")).contains("no SQL"));
    assert!(refused("- changeSet: {id: 1, author: a, runAllways: true}\n").contains("'runAlways'"));
    assert!(refused("- changeSet: {id: 1, author: a, context: a and}\n").contains("can't be read"));
    let validation = refused("- changeSet: {id: 1, author: a, onValidationFail: MARKRAN}\n");
    assert!(validation.contains("write 'MARK_RAN'"), "{validation}");
    assert!(refused("- changeSet: {author: a}\n").contains("r.yaml:2: 'changeSet' has no id"));
    assert!(refused("- changeset: {id: 1}\n").contains("write 'changeSet'"));
    assert!(refused("- include: {file: gone.yaml}\n").contains("'gone.yaml' is not there"));
    assert!(refused("- include: {file: a.txt}\n").contains("is not there"));
    assert!(refused("- includeAll: {path: nothing}\n").contains("has no changelogs"));
    let cycle = refused("- include: {file: self.yaml}\n");
    assert!(cycle.contains("self.yaml -> self.yaml"), "{cycle}");
    let twice = refused(&format!("{}{}", empty("1"), empty("1")));
    assert!(twice.contains("r.yaml:3: ") && twice.contains("the first one is at r.yaml:2"));
}

#[test]
fn a_rollback_is_read() {
    let xml = "<databaseChangeLog><changeSet id='1' author='a'><empty/><rollback/></changeSet>\
               <changeSet id='2' author='a'><empty/><rollback>drop table y; drop table z</rollback>\
               </changeSet><changeSet id='3' author='a'><empty/><rollback><dropTable tableName='x'/>\
               </rollback></changeSet><changeSet id='4' author='a'><empty/></changeSet>\
               </databaseChangeLog>";
    let log = Files::default().with("a.xml", xml).load("a.xml").unwrap();
    let lengths: Vec<_> = log.sets.iter().map(|s| s.rollback.as_ref().map(Vec::len)).collect();
    assert_eq!(lengths, [Some(0), Some(1), Some(1), None]);
}
