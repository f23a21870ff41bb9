CREATE TABLE users (
    id BIGINT PRIMARY KEY, name VARCHAR(100), email VARCHAR(100), age INT, profile JSON, active BOOLEAN,
    manager_id BIGINT, created_at DATETIME DEFAULT NOW(), KEY by_name (name), KEY by_email (email)
);
CREATE TABLE orders (
    id BIGINT PRIMARY KEY, user_id BIGINT, status ENUM('open', 'paid'), cents BIGINT, note TEXT, placed_at DATETIME,
    KEY by_user (user_id)
);
CREATE TABLE items (id BIGINT PRIMARY KEY, order_id BIGINT, sku VARCHAR(20), quantity INT, cents BIGINT);
CREATE TABLE events (id BIGINT PRIMARY KEY AUTO_INCREMENT, kind VARCHAR(20), payload JSON, at DATETIME);
CREATE TABLE docs (id BIGINT PRIMARY KEY, title VARCHAR(200), body TEXT, FULLTEXT KEY words (title, body));
CREATE TABLE employees (id BIGINT PRIMARY KEY, name VARCHAR(50), manager_id BIGINT, salary DECIMAL(10, 2), department VARCHAR(20));
CREATE TABLE places (id INT PRIMARY KEY, spot POINT NOT NULL);
CREATE TABLE `for update` (id INT PRIMARY KEY, `into` INT, `delete from users` TEXT);
CREATE TABLE `Größe` (id INT PRIMARY KEY, `länge` INT, straße TEXT);
CREATE VIEW active_users AS SELECT * FROM users WHERE active;
CREATE SEQUENCE invoices;
CREATE FUNCTION audit(what VARCHAR(20)) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO events (kind) VALUES (what); RETURN 1; END;
CREATE FUNCTION `lower b`(what VARCHAR(20)) RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM events; RETURN 1; END;
CREATE FUNCTION `count`(what VARCHAR(20)) RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM events; RETURN 1; END;
CREATE PROCEDURE sweep() DELETE FROM events;
INSERT INTO users (id, name, profile, active) VALUES (1, 'Ada', '{"a": {"b": 1}}', TRUE);
INSERT INTO orders (id, user_id, status, cents, placed_at) VALUES (1, 1, 'open', 100, NOW());
INSERT INTO items (id, order_id, sku, quantity, cents) VALUES (1, 1, 'a', 1, 100);
INSERT INTO employees (id, name, salary, department) VALUES (1, 'Eve', 10, 'it');
INSERT INTO events (id, kind, payload) VALUES (100, 'k', '{"a": [1, 2]}');
INSERT INTO places (id, spot) VALUES (1, POINT(1, 1));
