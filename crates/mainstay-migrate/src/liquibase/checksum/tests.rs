//! Checksums and descriptions of a real Liquibase.

use crate::liquibase::testing::Files;
use crate::liquibase::{ChangeSet, history};

const XML: &str = include_str!("../testdata/changes.xml");
const YAML: &str = include_str!("../testdata/scalars.yaml");
const FILE: &str = "insert into a values (1);\n-- c\ninsert into b values (2);\n";

fn sets(name: &str, text: &str) -> Vec<ChangeSet> {
    Files::default().with(name, text).with("f.sql", FILE).load(name).unwrap().sets
}

/// Set, checksum and description, as a real Liquibase 4.28 has them.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_change_has_the_checksum_of_a_real_liquibase() {
    let want = [
        ("sql-plain", "9:e4c0d22a3cc20c77ea18edc7d3dd1cb8", "sql"),
        ("sql-opts", "9:d41d8cd98f00b204e9800998ecf8427e", "sql"),
        ("sql-comment", "9:3b78b9910981c62ca27148640fad7bc2", "sql"),
        ("sqlFile", "9:d6c254ceadc9de1eca0c9275157fd914", "sqlFile path=f.sql"),
        ("createTable-min", "9:4540d4f5693b57b1bf9dc442f82d52fc", "createTable tableName=t"),
        ("createTable-full", "9:53efc2da97dde3da11085fdaab27c000", "createTable tableName=t"),
        ("createTable-fk", "9:add99b91766e6c107dc9687d266157cb", "createTable tableName=t"),
        ("createTable-pk2", "9:9a10d14d064f799a8d7c2799183fbe80", "createTable tableName=t"),
        ("createTable-ai", "9:0cd548e8bcfb4ffc983b14fa290253a4", "createTable tableName=t"),
        (
            "createTable-quote",
            "9:16657d7743b239d2ed4102c67c1d0ef1",
            "createTable tableName=My Table",
        ),
        ("dropTable", "9:b599aea3b693afed6786fc4326001e35", "dropTable tableName=t"),
        (
            "renameTable",
            "9:54a3c75e26244a7c528fd7d4dbb480a5",
            "renameTable newTableName=b, oldTableName=a",
        ),
        ("addColumn", "9:eee21780945c0ccb9802baa3e00adbcb", "addColumn tableName=t"),
        ("addColumn-fk", "9:5887078e54f035dee0b91ab1dade8af4", "addColumn tableName=t"),
        (
            "dropColumn",
            "9:658d9a7a09424b84b867edd1b54d4991",
            "dropColumn columnName=c, tableName=t",
        ),
        ("dropColumn-many", "9:408d546d350a814a782d590f03391ff3", "dropColumn tableName=t"),
        (
            "renameColumn",
            "9:2bcbc999c4963530a08f38ad914f4ed4",
            "renameColumn newColumnName=b, oldColumnName=a, tableName=t",
        ),
        (
            "modifyDataType",
            "9:0c2a7426d821fb63262ee28b35501b3e",
            "modifyDataType columnName=a, tableName=t",
        ),
        (
            "addNotNull",
            "9:10c6e16fd12cb1f8b36fb390fc11d05b",
            "addNotNullConstraint columnName=a, tableName=t",
        ),
        (
            "addNotNull-named",
            "9:d055145f3393b9f44045dd9f0284fab5",
            "addNotNullConstraint columnName=a, constraintName=nn, tableName=t",
        ),
        (
            "dropNotNull",
            "9:053962757005e96a01f6f7bd797f4c52",
            "dropNotNullConstraint columnName=a, tableName=t",
        ),
        (
            "addPrimaryKey",
            "9:865a3c032053fceb658af377f22b60fd",
            "addPrimaryKey constraintName=pk_t, tableName=t",
        ),
        ("addPrimaryKey-anon", "9:b880127e070de3478e2b27a66b995dc8", "addPrimaryKey tableName=t"),
        (
            "dropPrimaryKey",
            "9:53072e74ae128e62c8dfdeda69c02282",
            "dropPrimaryKey constraintName=pk_t, tableName=t",
        ),
        ("dropPrimaryKey-anon", "9:a9c903aae9932cbd7a5ed6e9518b6048", "dropPrimaryKey tableName=t"),
        (
            "addUnique",
            "9:cb4b222b0b227e92e9fd427147cbfa99",
            "addUniqueConstraint constraintName=uq, tableName=t",
        ),
        ("addUnique-more", "9:8dad6794514e0db47483cbaf68beb07f", "addUniqueConstraint tableName=t"),
        (
            "dropUnique",
            "9:6976e37876c1e556502be0456a289626",
            "dropUniqueConstraint constraintName=uq, tableName=t",
        ),
        (
            "addFk",
            "9:eb9bfea9f0249e3635f7874686cf268f",
            "addForeignKeyConstraint baseTableName=t, constraintName=fk, referencedTableName=other",
        ),
        (
            "addFk-more",
            "9:7f7b2e706f835ed90182fa382c04f2fb",
            "addForeignKeyConstraint baseTableName=t, constraintName=fk, referencedTableName=other",
        ),
        (
            "addFk-cascade",
            "9:fba128ce456386b00f7c630187459510",
            "addForeignKeyConstraint baseTableName=t, constraintName=fk, referencedTableName=other",
        ),
        (
            "dropFk",
            "9:e3f2abbe7942ca0d23febea4c52474a2",
            "dropForeignKeyConstraint baseTableName=t, constraintName=fk",
        ),
        (
            "createIndex",
            "9:fe1367ff2dee802c3a8ef6b0f97916a8",
            "createIndex indexName=ix, tableName=t",
        ),
        (
            "createIndex-uq",
            "9:476d04e6671bc662656268fdd48128af",
            "createIndex indexName=ix, tableName=t",
        ),
        (
            "createIndex-nonuq",
            "9:baad3d7d359d8e670dcfe6f2f34d8600",
            "createIndex indexName=ix, tableName=t",
        ),
        ("dropIndex", "9:b1ee97836eb189f97164b0a913b35ba9", "dropIndex indexName=ix, tableName=t"),
        (
            "addDefault",
            "9:58b44b8f619a9bb4c932786240a3404d",
            "addDefaultValue columnName=a, tableName=t",
        ),
        (
            "addDefault-num",
            "9:968cc9a4ebacb628f0cf9e7c1e44d1f0",
            "addDefaultValue columnName=a, tableName=t",
        ),
        (
            "addDefault-bool",
            "9:438e2a855661c1d6928752ed795fa8c1",
            "addDefaultValue columnName=a, tableName=t",
        ),
        (
            "addDefault-date",
            "9:2353b8f9c0914594f1cb4fb9cb142dc9",
            "addDefaultValue columnName=a, tableName=t",
        ),
        (
            "addDefault-comp",
            "9:8d279f4e9bdcb80f5c2498166400ae53",
            "addDefaultValue columnName=a, tableName=t",
        ),
        (
            "dropDefault",
            "9:af1c5d5139003e1faa493c35b62473a0",
            "dropDefaultValue columnName=a, tableName=t",
        ),
        ("createView", "9:b4ca3dd8fc89694203a95e8d72c78e90", "createView viewName=v"),
        ("createView-rep", "9:ea20d8bf8189aeed3eb1230a9cee0a9e", "createView viewName=v"),
        ("createView-full", "9:91588a0106e4b8876e185658ddc9873f", "createView viewName=v"),
        ("dropView", "9:8a7f3f41348086912d29c5ed3e3f51d3", "dropView viewName=v"),
        ("dropView-ie", "9:92cf67d062fb1ec55b13bd3702d95c93", "dropView viewName=v"),
        (
            "renameView",
            "9:6675959908b69f47685efc1a2e36b95a",
            "renameView newViewName=w, oldViewName=v",
        ),
        ("insert", "9:46084649033f0df4acbd0340793eccfa", "insert tableName=t"),
        ("insert-date", "9:69a4ba1e91ce06e06d93b3a818ec27ff", "insert tableName=t"),
        ("update", "9:d59a81f9c39087ac7cbb4291f4eeef0c", "update tableName=t"),
        ("update-params", "9:ac3cf41c81b74d1bce452b0b3e180af9", "update tableName=t"),
        ("delete", "9:558f722be28fa924cc1322eaeb4a3c46", "delete tableName=t"),
        ("delete-all", "9:d49f2aac02a047d009a8231558176883", "delete tableName=t"),
        ("tagDatabase", "9:38bb4793a6a4fbb48375b4027cd6f472", "tagDatabase"),
        ("empty", "9:7a37a4e4638085400ecf49cb0bebb7de", "empty"),
        ("createSequence", "9:9875151982028991c5009df13c08ee6d", "createSequence sequenceName=sq"),
        (
            "createSequence-min",
            "9:9b7f3adc775688ace54d0d7137ac1202",
            "createSequence sequenceName=sq",
        ),
        ("dropSequence", "9:fe182bd348bfc4c0845598762a5f1759", "dropSequence sequenceName=sq"),
        ("alterSequence", "9:034cd765679ff989b53e33dfb864b316", "alterSequence sequenceName=sq"),
        (
            "renameSequence",
            "9:868c16b82ac4c66d535dd7e8d43302c4",
            "renameSequence newSequenceName=b, oldSequenceName=a",
        ),
        ("setTableRemarks", "9:9c4aed678b565750247e29d983725adc", "setTableRemarks tableName=t"),
        (
            "setColumnRemarks",
            "9:de89ee1362f60ab2cedc639e7f945dfc",
            "setColumnRemarks columnName=a, tableName=t",
        ),
        (
            "addAutoIncrement",
            "9:1f05b276687c17b797e98a456bbe5c5a",
            "addAutoIncrement columnName=id, tableName=t",
        ),
        ("output", "9:67d366524d48d6f73cb559d394191ac5", "output"),
        ("stop", "9:8a4c0d61f39b2eecbb54bba2f1cea5da", "stop"),
        (
            "createProcedure",
            "9:a3b7c8c0a9a3899170806ae3f08372ba",
            "createProcedure procedureName=p",
        ),
        ("dropProcedure", "9:9ace7327327bb065e4c2572965bd1322", "dropProcedure procedureName=p"),
        (
            "mergeColumns",
            "9:56bbb781f7e7b56e9e38572a974297fe",
            "mergeColumns column1Name=a, column2Name=b, finalColumnName=c, tableName=t",
        ),
        (
            "two",
            "9:8db811c3d9eab823fef3daabb30fb923",
            "renameTable newTableName=b, oldTableName=a; renameTable newTableName=c, oldTableName=b",
        ),
        ("comment", "9:7a37a4e4638085400ecf49cb0bebb7de", "empty"),
        ("pre", "9:7a37a4e4638085400ecf49cb0bebb7de", "empty"),
        ("rb", "9:7a37a4e4638085400ecf49cb0bebb7de", "empty"),
        ("rbsql", "9:7a37a4e4638085400ecf49cb0bebb7de", "empty"),
        ("rbempty", "9:7a37a4e4638085400ecf49cb0bebb7de", "empty"),
    ];
    let sets = sets("all.xml", XML);
    assert_eq!(sets.len(), want.len());
    for (set, (id, sum, description)) in sets.iter().zip(want) {
        assert_eq!(set.id, id);
        assert_eq!(super::set(set, "sqlite"), sum, "{id}: {:?}", set.changes);
        assert_eq!(history::description(set), description, "{id}");
    }
}

#[test]
fn scalars_of_yaml_count_as_liquibase_reads_them() {
    let sums: Vec<_> = sets("sc.yaml", YAML).iter().map(|s| super::set(s, "postgresql")).collect();
    let want = [
        "9:ea70a04fd2a0a71969bf635cf154421f",
        "9:15e487bd67ae909486236bdacaa9afa8",
        "9:5472956f41067dbea515f15314e624e6",
        "9:7a37a4e4638085400ecf49cb0bebb7de",
        "9:d41d8cd98f00b204e9800998ecf8427e",
    ];
    assert_eq!(sums, want);
}

#[test]
fn a_file_counts_as_it_is_and_a_view_with_its_properties() {
    let text = "databaseChangeLog:\n- property: {name: x, value: one}\n- changeSet:\n    id: f\n    \
                author: a\n    changes:\n    - sqlFile: {path: p.sql}\n    \
                - createView: {viewName: v, path: p.sql}\n    - sql: \"${x}\"\n";
    let files = Files::default().with("a.yaml", text).with("p.sql", "select ${x} from y\n");
    let log = files.load("a.yaml").unwrap();
    assert_eq!(super::set(&log.sets[0], "sqlite"), "9:12f515b5f9b445eb8b67030e366edf51");
    let want = "sqlFile path=p.sql; createView path=p.sql, viewName=v; sql";
    assert_eq!(history::description(&log.sets[0]), want);
}

#[test]
fn the_text_of_a_change_is_liquibases() {
    let text = "databaseChangeLog:\n- changeSet:\n    id: 1\n    author: a\n    changes:\n    \
                - createTable:\n        tableName: t\n        ifNotExists: true\n        columns:\n        \
                - column: {type: int, name: id, constraints: {nullable: false}}\n        \
                - column: {name: e, type: int, constraints: {}}\n";
    let sets = sets("a.yaml", text);
    let super::Change::Defined(change) = &sets[0].changes[0] else { panic!() };
    let want = "createTable:[\n    columns=[\n        [\n            [\n                \
                nullable=\"false\"\n            ]\n            name=\"id\"\n            \
                type=\"int\"\n        ],\n        [\n            [            ]\n            \
                name=\"e\"\n            type=\"int\"\n        ]\n    ]\n    tableName=\"t\"\n]";
    assert_eq!(super::serialize(change), want);
}

#[test]
fn letters_with_accents_count_in_one_form() {
    let composed = super::version("\u{e9}");
    assert_eq!(super::version("e\u{301}"), composed);
    assert_eq!(super::version("a\r\nb"), super::version("a\nb"));
}
