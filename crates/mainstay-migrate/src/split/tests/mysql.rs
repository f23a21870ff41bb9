//! Delimiters, comments that run, and bodies without a delimiter.

use mainstay_db::Engine;

use super::{one, refused, split, texts};

const MY: Engine = Engine::MySql;

#[test]
fn strings_names_and_comments_hold_semicolons() {
    for sql in [
        "SELECT 'it\\'s; a', \"b\\\";\", 'c''d;', \"e\"\"f;\"",
        "SELECT `a;``b`",
        "SELECT 1 # it's;\n+ 2",
        "SELECT 1 -- it's;\n+ 2",
        "SELECT 3--1",
        "SELECT /*+ MAX_EXECUTION_TIME(1) */ 1",
        "SELECT 1 /*! + 1; */ + 2",
        "/*!40101 SET NAMES utf8 */",
        "/*M!100301 SET a = ';' */",
        "/*! SELECT '*/;' /* ; */ */",
        "XA BEGIN 'a'",
        "BEGIN WORK",
        "INSERT INTO a (begin, end) VALUES (1, CASE WHEN 1 THEN 2 END)",
        "SELECT IF(1, 2, 3), REPLACE('a', 'b', 'c'), REPEAT('a;', 2)",
        "CREATE TABLE event (begin INT, trigger_name TEXT)",
        "CREATE DEFINER=`a`@`%` SQL SECURITY INVOKER VIEW v AS SELECT begin FROM procedure_list",
        "CREATE FUNCTION f RETURNS STRING SONAME 'f.so'",
        "DROP PROCEDURE IF EXISTS p",
    ] {
        one(sql, MY);
    }
}

#[test]
fn delimiters_hold_until_the_next() {
    let sql = "SELECT 1;\nDELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; SELECT '//'; END//\n\
               CREATE PROCEDURE q() BEGIN SELECT 2; END; //\n/* // */ -- //\n\
               delimiter ;\nSELECT 3;\n\
               Delimiter $$\r\nCREATE PROCEDURE r() BEGIN a; END$$\r\n\
               SELECT a$b $$ DELIMITER ; # back\r\n\
               SELECT 4;";
    assert_eq!(
        texts(sql, MY),
        [
            "SELECT 1",
            "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT '//'; END",
            "CREATE PROCEDURE q() BEGIN SELECT 2; END",
            "SELECT 3",
            "CREATE PROCEDURE r() BEGIN a; END",
            "SELECT a$b",
            "SELECT 4",
        ]
    );
    assert_eq!(
        texts("DELIMITER ;;\na; b;;\n;;c ;;\nDELIMITER ;\nd;e", MY),
        ["a; b", "c", "d", "e"]
    );
    assert_eq!(
        texts("DELIMITER GO\nSELECT GONE, `GO` GO\nSELECT 2\nGO", MY),
        ["SELECT GONE, `GO`", "SELECT 2"]
    );
    assert_eq!(texts("DELIMITER '|'\na|b;c", MY), ["a", "b;c"]);
    assert_eq!(texts("DELIMITER$$\na;$$b$$", MY), ["a", "b"]);
    assert_eq!(
        texts("SELECT 1\nDELIMITER //\n; SELECT 2", MY),
        ["SELECT 1\nDELIMITER //", "SELECT 2"]
    );
}

#[test]
fn a_delimiter_must_be_given() {
    assert!(refused("SELECT 1;\n DELIMITER \nSELECT 2", MY).starts_with("line 2, column 2: "));
    for (sql, why) in [
        ("DELIMITER", "no argument"),
        ("DELIMITER ''", "no argument"),
        ("DELIMITER \\", "backslash"),
        ("DELIMITER // SELECT 1 //", "something follows"),
    ] {
        assert!(split(sql, MY).unwrap_err().report().contains(why), "{sql}");
    }
}

#[test]
fn a_dump_splits() {
    let sql = "/*M!999999\\- enable the sandbox mode */ \n-- dump\n\
               /*!50003 SET sql_mode = '' */ ;\nDELIMITER ;;\n\
               /*!50003 CREATE*/ /*!50017 DEFINER=`a`@`%`*/ /*!50003 TRIGGER t BEFORE INSERT ON a\n\
               FOR EACH ROW BEGIN /* x */ SET new.b = 1; END */;;\nDELIMITER ;\n\
               /*!50003 SET sql_mode = @a */ ;";
    let found = texts(sql, MY);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "/*!50003 SET sql_mode = '' */");
    assert!(found[1].starts_with("/*!50003 CREATE*/") && found[1].ends_with("END */"));
}

#[test]
fn bodies_need_no_delimiter() {
    for sql in [
        "CREATE PROCEDURE p() SELECT 1",
        "CREATE PROCEDURE p() BEGIN END",
        "CREATE OR REPLACE DEFINER='a'@'%' PROCEDURE IF NOT EXISTS p(IN a INT) BEGIN SELECT 1; END",
        "CREATE DEFINER=root@localhost TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN b; c; END",
        "CREATE TRIGGER t AFTER UPDATE ON a FOR EACH ROW FOLLOWS u BEGIN b; c; END",
        "CREATE TRIGGER t AFTER UPDATE ON a FOR EACH ROW PRECEDES `u` IF new.b THEN c; END IF",
        "CREATE TRIGGER t AFTER UPDATE ON begin FOR EACH ROW SET @end = IF(new.begin, 1, 2)",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY COMMENT 'x' DO BEGIN a; b; END",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO CALL p()",
        "ALTER DEFINER = CURRENT_USER() EVENT e DO BEGIN a; b; END",
        "CREATE FUNCTION f(a VARCHAR(9)) RETURNS ENUM('b', 'c') CHARSET utf8mb4 DETERMINISTIC \
         READS SQL DATA BEGIN RETURN 'b'; END",
        "CREATE FUNCTION f(a INT) RETURNS TEXT RETURN CASE WHEN a THEN REPEAT('x', 3) END",
        "CREATE AGGREGATE FUNCTION f(a INT) RETURNS INT \
         BEGIN LOOP FETCH GROUP NEXT ROW; END LOOP; END",
        "CREATE PROCEDURE p() COMMENT 'x' LANGUAGE SQL NOT DETERMINISTIC MODIFIES SQL DATA \
         SQL SECURITY INVOKER main: BEGIN LEAVE main; END main",
        "CREATE PROCEDURE begin() IF 1 THEN SELECT 2; ELSEIF 3 THEN a; ELSE b; END IF",
        "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 PROCEDURE p() BEGIN a; b; END */",
        "BEGIN NOT ATOMIC SELECT 1; BEGIN SELECT 2; END; END",
    ] {
        one(sql, MY);
    }
}

#[test]
fn blocks_nest() {
    for body in [
        "DECLARE EXIT HANDLER FOR SQLEXCEPTION, NOT FOUND, 1062 BEGIN ROLLBACK; END; a;",
        "DECLARE CONTINUE HANDLER FOR SQLSTATE VALUE '23000' SET @x = 1; a;",
        "DECLARE c CONDITION FOR 1051; DECLARE EXIT HANDLER FOR c, d BEGIN END; a;",
        "DECLARE c CURSOR FOR SELECT CASE WHEN a THEN b END FROM d; OPEN c;",
        "DECLARE EXIT HANDLER FOR NOT FOUND IF a THEN b; END IF; c;",
        "l: LOOP IF a THEN LEAVE l; END IF; ITERATE l; END LOOP l;",
        "`l`: WHILE IF(a, b, c) > 1 DO SET a = a - 1; END WHILE `l`; b;",
        "REPEAT SET a = REPEAT('b', 2); UNTIL a > 3 END REPEAT; b;",
        "l: REPEAT a; UNTIL CASE WHEN b THEN c END END REPEAT l; d;",
        "CASE a WHEN 1 THEN b; WHEN CASE c WHEN 2 THEN 3 END THEN IF d THEN e; END IF; \
         ELSE BEGIN END; END CASE; f;",
        "SET a = CASE WHEN b THEN IF(c, 1, 2) ELSE CASE d WHEN 1 THEN 2 END END; e;",
        "IF CASE WHEN a THEN b END = 1 THEN c; ELSE CASE WHEN d THEN e; END CASE; END IF; f;",
        "DROP TABLE IF EXISTS x; CREATE TABLE IF NOT EXISTS y (begin INT, end INT);",
        "SELECT begin, end, t.case, @if FROM t WHERE end > begin; REPLACE INTO a VALUES (1);",
        "IF NOT EXISTS (SELECT 1) THEN a; END IF; IF EXISTS (SELECT 1) THEN b; END IF;",
        "FOR i IN 1..10 DO SELECT i; END FOR; FOR r IN (SELECT 1) DO a; END FOR; b;",
        "x: BEGIN y: BEGIN LEAVE x; END y; END x; z;",
        "WHILE a DO WHILE b DO c; END WHILE; END WHILE; d;",
        "IF a THEN # it's; END IF\n b; END IF; -- END; it's\n c;",
        "START TRANSACTION; DO SLEEP(1); DO IF(1, 2, 3); COMMIT;",
    ] {
        one(&format!("CREATE PROCEDURE p(a INT)\nBEGIN\n  {body}\nEND"), MY);
    }
}

#[test]
fn a_block_without_end_is_named() {
    let sql = "SELECT 1;\nCREATE PROCEDURE p()\n BEGIN IF a THEN b; END IF; SELECT 2;\n";
    assert!(refused(sql, MY).starts_with("line 3, column 2: the BEGIN block"));
    assert!(refused("SELECT 1 /*! '*/ ' ;", MY).starts_with("line 1, column 10: the comment"));
}
