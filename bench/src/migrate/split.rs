//! How fast texts are cut into statements.

use mainstay::Engine;
use mainstay::clock::Clock;

use crate::report::{Better, Case, median};

const BYTES: usize = 4 * 1024 * 1024;
const ROUNDS: usize = 15;

/// A bit of everything that a dump has.
const POSTGRES: &str = "
CREATE TABLE orders (id BIGINT PRIMARY KEY, note TEXT DEFAULT 'a;b', total NUMERIC(12, 2)); -- orders;
/* what /* nested */ comments; hold */
CREATE FUNCTION f(a INT) RETURNS INT LANGUAGE plpgsql AS $body$
BEGIN
  IF a > 0 THEN RETURN a; END IF;
  RETURN 'x;y';
END;
$body$;
INSERT INTO orders VALUES (1, E'it\\'s; fine', 10.50), (2, 'O''Brien', 7), (3, NULL, 1e3);
CREATE INDEX CONCURRENTLY orders_total ON orders (total) WHERE note <> ';';
";
const MYSQL: &str = "
CREATE TABLE `orders` (id BIGINT PRIMARY KEY, note VARCHAR(50) DEFAULT 'a;b'); # orders;
/*!40101 SET NAMES utf8mb4 */;
INSERT INTO orders VALUES (1, 'it\\'s; fine'), (2, \"O'Brien\"), (3, NULL);
CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW BEGIN
  IF NEW.id < 0 THEN SET NEW.id = 0; END IF;
  SET NEW.note = CONCAT(NEW.note, ';');
END;
";

pub(crate) fn run() -> Vec<Case> {
    let clock = Clock::system();
    let mut cases = Vec::new();
    for (engine, name, text) in
        [(Engine::Postgres, "PostgreSQL", POSTGRES), (Engine::MySql, "MySQL", MYSQL)]
    {
        let text = text.repeat(BYTES / text.len());
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let begun = clock.now();
            let statements = mainstay_migrate::split(&text, engine).expect("it can be cut");
            let seconds = (clock.now() - begun).as_secs_f64();
            assert!(statements.len() > 1000);
            rates.push(text.len() as f64 / 1e6 / seconds);
        }
        let case = format!("a text cut into statements, {name}");
        cases.push(Case::new(case, "MB/s", Better::Higher, median(rates)));
    }
    cases
}
