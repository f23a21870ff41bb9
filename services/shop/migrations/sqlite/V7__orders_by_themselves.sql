-- Orders may be in another database than users and payments. SQLite has no DROP CONSTRAINT: the tables are made anew.
PRAGMA foreign_keys = OFF;
BEGIN IMMEDIATE;
CREATE TABLE orders_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL,
    total BIGINT NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'confirmed',
    reason VARCHAR(200),
    account_id BIGINT);
INSERT INTO orders_new (id, user_id, total, status, reason, account_id)
SELECT id, user_id, total, status, reason, account_id FROM orders;
DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
CREATE INDEX orders_user_id ON orders (user_id, id);
CREATE TABLE payments_new (
    order_id BIGINT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    amount BIGINT NOT NULL);
INSERT INTO payments_new (order_id, account_id, amount) SELECT order_id, account_id, amount FROM payments;
DROP TABLE payments;
ALTER TABLE payments_new RENAME TO payments;
COMMIT;
PRAGMA foreign_keys = ON;
