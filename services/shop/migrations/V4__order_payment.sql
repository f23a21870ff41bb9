-- An order may name the account that pays it; what was paid is here, and no longer in the account.
ALTER TABLE orders ADD COLUMN account_id BIGINT;

CREATE TABLE payments (
    order_id BIGINT PRIMARY KEY,
    account_id BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    FOREIGN KEY (order_id) REFERENCES orders (id),
    FOREIGN KEY (account_id) REFERENCES accounts (id));
