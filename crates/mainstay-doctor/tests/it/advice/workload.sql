-- What an expert would create is above each statement: TABLE(KEY) [WHERE ..] [INCLUDE ..] [GIN]; {a b} is in any order.

-- expect: customers(email)
SELECT id, name FROM customers WHERE email = 'User77@Example.org';
-- expect: customers(lower(email))
-- binds: ["user88@example.org"]
SELECT id, name FROM customers WHERE lower(email) = $1;
-- expect: orders(customer_id created_at)
-- binds: [17]
SELECT id, total FROM orders WHERE customer_id = $1 ORDER BY created_at DESC LIMIT 10;
-- expect: orders(customer_id)
SELECT count(*) FROM orders WHERE customer_id = 4711;
-- expect: orders({customer_id status})
SELECT * FROM orders WHERE customer_id = $1 AND status = $2 AND total > 0;
-- expect: orders(created_at) WHERE status
SELECT id, created_at FROM orders WHERE status = 'pending' ORDER BY created_at LIMIT 50;
-- expect: orders(region created_at)
SELECT id FROM orders WHERE region = 7 AND created_at >= '2025-06-01' AND created_at < '2025-06-08';
-- expect: orders(created_at)
SELECT id, total FROM orders ORDER BY created_at DESC LIMIT 20;
-- expect: orders(shipped_at) WHERE shipped_at IS NULL
SELECT id, total FROM orders WHERE shipped_at IS NULL AND status = 'pending';
-- expect: items(order_id)
SELECT product_id, quantity FROM items WHERE order_id = 5000;
-- expect: items(order_id)
-- binds: ["R-500"]
SELECT o.id, i.product_id, i.quantity FROM orders o JOIN items i ON i.order_id = o.id WHERE o.reference = $1;
-- expect: items(product_id)
SELECT order_id, price FROM items WHERE product_id = 15000;
-- expect: items(product_id)
DELETE FROM items WHERE product_id = 19000 AND quantity = 3;
-- expect: products(sku)
-- binds: ["SKU-000042"]
SELECT id, title FROM products WHERE sku = $1;
-- expect: products(category_id price)
SELECT id, title FROM products WHERE category_id = 12 ORDER BY price LIMIT 10;
-- expect: products(category_id price)
SELECT id FROM products WHERE category_id = 31 AND price BETWEEN 100 AND 3000;
-- expect: products(attributes) GIN
SELECT id FROM products WHERE attributes @> '{"vendor": 77}';
-- expect: products(tags) GIN
SELECT id FROM products WHERE tags @> ARRAY['t99'];
-- expect: products(title) GIN
SELECT id, title FROM products WHERE title LIKE '%4f3a2%';
-- expect: products(to_tsvector('english', body)) GIN
SELECT id FROM products WHERE to_tsvector('english', body) @@ to_tsquery('english', 'word77');
-- expect: events(tenant_id created_at)
-- binds: [42]
SELECT id, kind FROM events WHERE tenant_id = $1 ORDER BY created_at DESC LIMIT 25;
-- expect: events({tenant_id kind} created_at)
-- binds: [3, "kind7"]
SELECT id, actor FROM events WHERE tenant_id = $1 AND kind = $2 ORDER BY created_at DESC LIMIT 25;
-- expect: events(actor)
SELECT count(*), max(created_at) FROM events WHERE actor = 'actor99';
-- expect: events(tenant_id)
SELECT * FROM events WHERE tenant_id = 400 AND severity > 7;
-- expect: events((payload ->> 'user'))
SELECT id FROM events WHERE payload ->> 'user' = '812';
-- expect: events(created_at)
SELECT max(created_at) FROM events;
-- expect: events(kind severity)
SELECT id, actor FROM events WHERE kind = 'kind0' AND severity >= 9;
-- expect: items(product_id) INCLUDE
SELECT sum(price) FROM items WHERE product_id = 1;
-- expect: audit(entity_id at)
SELECT id, action FROM audit WHERE entity_id = 99 ORDER BY at DESC LIMIT 10;
-- expect: audit(entity_id at)
SELECT * FROM audit WHERE entity_id = $1 AND at > '2025-04-01';
-- expect: customers(name)
SELECT id FROM customers WHERE name LIKE 'Name 3999%';
-- expect: customers(deleted_at)
SELECT id FROM customers WHERE deleted_at IS NOT NULL;
-- expect: customers(tier) WHERE tier
SELECT id, email FROM customers WHERE tier = 'gold';
-- expect: customers(name)
-- expect: customers(email)
SELECT id FROM customers WHERE name = 'Name 55' OR email = 'User5@Example.org';
-- expect: customers(created_at)
SELECT id, name FROM customers WHERE created_at > '2024-07-10' ORDER BY created_at LIMIT 100;
-- expect: orders(customer_id)
SELECT c.name, (SELECT max(o.total) FROM orders o WHERE o.customer_id = c.id) FROM customers c WHERE c.id = 9;
-- expect: orders(customer_id)
SELECT c.id, o.id FROM customers c LEFT JOIN LATERAL (SELECT id FROM orders WHERE customer_id = c.id ORDER BY created_at DESC LIMIT 1) o ON true WHERE c.id IN (4, 9, 77);
-- expect: orders(customer_id)
UPDATE orders SET note = 'x' WHERE customer_id = 30000 AND status = 'done';
-- expect: jobs(run_at) WHERE state
SELECT id FROM jobs WHERE state = 'ready' ORDER BY run_at LIMIT 10 FOR UPDATE SKIP LOCKED;
-- expect: jobs(queue run_at) WHERE state
SELECT id, body FROM jobs WHERE queue = 'q0' AND state = 'failed' AND run_at < now();
-- expect: orders(total)
WITH big AS (SELECT id, customer_id FROM orders WHERE total > 999.5) SELECT c.email FROM big JOIN customers c ON c.id = big.customer_id;
-- expect: items(product_id)
SELECT p.title FROM products p WHERE p.id = 19500 AND EXISTS (SELECT 1 FROM items i WHERE i.product_id = p.id AND i.quantity > 4);
-- expect: events({tenant_id kind} created_at)
SELECT id FROM events WHERE kind = 'kind3' AND tenant_id = 77 AND created_at > '2025-01-01' ORDER BY created_at;
-- expect: orders(region status)
SELECT id, total FROM orders WHERE region = 3 AND status IN ('paid', 'pending');
-- expect: products(price)
SELECT id FROM products WHERE price < 500 UNION ALL SELECT id FROM products WHERE id = 4;
-- expect: none
SELECT * FROM orders WHERE id = 17;
-- expect: none
SELECT count(*) FROM orders;
-- expect: none
SELECT id, total FROM orders WHERE status = 'done';
-- expect: none
SELECT * FROM countries WHERE name = 'Country 9';
-- expect: none
SELECT status, count(*), sum(total) FROM orders GROUP BY status;
-- expect: none
SELECT * FROM customers WHERE active;
-- expect: none
SELECT id FROM orders WHERE reference = 'R-77';
-- expect: none
SELECT * FROM audit WHERE at > '2025-05-01' AND at < '2025-05-02';
-- expect: none
SELECT c.country, sum(o.total) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.country;
-- expect: none
SELECT * FROM customers WHERE country <> 'DE';
-- expect: none
SELECT avg(price) FROM items WHERE discount < 8;
-- expect: none
SELECT * FROM orders WHERE total > 100 ORDER BY total;
-- expect: none
INSERT INTO countries (code, name) VALUES ('X1', 'New');
-- expect: none
UPDATE products SET stock = stock - 1 WHERE id = 7;
-- expect: none
SELECT * FROM products WHERE body LIKE '%lorem%'
