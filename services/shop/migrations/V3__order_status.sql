-- Orders are confirmed or cancelled after they were taken; those that are there are confirmed.
ALTER TABLE orders ADD COLUMN status VARCHAR(20) NOT NULL DEFAULT 'confirmed';
ALTER TABLE orders ADD COLUMN reason VARCHAR(200);

CREATE TABLE order_counts (
    day VARCHAR(10) NOT NULL,
    status VARCHAR(20) NOT NULL,
    orders BIGINT NOT NULL,
    PRIMARY KEY (day, status));
