-- What is done for an order on the main database, each once: its stock, its payment, its part in the best sellers. The order
-- itself may be in another database, on the shard of its user.
CREATE TABLE reservations (
    order_id BIGINT PRIMARY KEY,
    state VARCHAR(20) NOT NULL,
    sku VARCHAR(100),
    counted INTEGER NOT NULL DEFAULT 0);

INSERT INTO reservations (order_id, state)
SELECT id, CASE
    WHEN status = 'cancelled' THEN 'released'
    WHEN EXISTS (SELECT 1 FROM payments WHERE payments.order_id = orders.id) THEN 'charged'
    ELSE 'reserved' END
FROM orders WHERE status <> 'pending';
