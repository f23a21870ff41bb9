CREATE EXTENSION IF NOT EXISTS pg_trgm;
SELECT setseed(0.5);
CREATE TABLE customers (id int PRIMARY KEY, email text NOT NULL, name text NOT NULL, country text NOT NULL,
  tier text NOT NULL, active boolean NOT NULL, created_at timestamptz NOT NULL, deleted_at timestamptz, bio text);
INSERT INTO customers SELECT i, 'User' || i || '@Example.org', 'Name ' || (i * 7919 % 40000),
  (ARRAY['DE','FR','US','GB'])[1 + i % 4], CASE WHEN i % 200 = 0 THEN 'gold' ELSE 'basic' END, i % 50 <> 0,
  timestamptz '2024-01-01' + i * interval '7 minutes', CASE WHEN i % 400 = 0 THEN now() END, repeat('b', 60)
  FROM generate_series(1, 40000) i;
CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL, status text NOT NULL, total numeric NOT NULL,
  created_at timestamptz NOT NULL, shipped_at timestamptz, region int NOT NULL, reference text NOT NULL, note text);
INSERT INTO orders SELECT i, 1 + (power(random(), 2) * 39999)::int,
  CASE WHEN i % 100 = 0 THEN 'pending' WHEN i % 50 = 1 THEN 'paid' WHEN i % 25 = 2 THEN 'shipped' ELSE 'done' END,
  (random() * 1000)::numeric(10, 2), timestamptz '2024-01-01' + random() * interval '600 days',
  CASE WHEN i % 20 <> 0 THEN now() END, 1 + (random() * 39)::int, 'R-' || (i * 7919::bigint % 120000), repeat('n', 80)
  FROM generate_series(1, 120000) i;
CREATE TABLE items (id int PRIMARY KEY, order_id int NOT NULL, product_id int NOT NULL, quantity int NOT NULL,
  price int NOT NULL, discount int NOT NULL);
INSERT INTO items SELECT i, 1 + (random() * 119999)::int, 1 + (power(random(), 3) * 19999)::int, 1 + i % 5,
  (random() * 10000)::int, i % 10 FROM generate_series(1, 200000) i;
CREATE TABLE products (id int PRIMARY KEY, sku text NOT NULL, title text NOT NULL, category_id int NOT NULL,
  price int NOT NULL, stock int NOT NULL, discontinued boolean NOT NULL, attributes jsonb NOT NULL, tags text[] NOT NULL,
  body text NOT NULL);
INSERT INTO products SELECT i, 'SKU-' || lpad((i * 7919 % 20000)::text, 6, '0'), md5(i::text) || ' thing ' || md5((i * 3)::text), 1 + i % 300,
  (random() * 100000)::int, (random() * 500)::int, i % 40 = 0,
  jsonb_build_object('color', (ARRAY['red','blue','green'])[1 + i % 3], 'vendor', i % 2000), ARRAY['t' || i % 1500, 'u' || i % 7],
  'word' || i % 3000 || ' lorem ipsum dolor'
  FROM generate_series(1, 20000) i;
CREATE TABLE events (id bigint PRIMARY KEY, tenant_id int NOT NULL, kind text NOT NULL, actor text NOT NULL,
  severity int NOT NULL, created_at timestamptz NOT NULL, payload jsonb NOT NULL);
INSERT INTO events SELECT i, 1 + (power(random(), 2) * 499)::int, 'kind' || (random() * 30)::int, 'actor' || (random() * 5000)::int,
  (power(random(), 6) * 10)::int, timestamptz '2024-01-01' + random() * interval '500 days', jsonb_build_object('user', i % 9000, 'x', repeat('p', 60))
  FROM generate_series(1, 120000) i;
CREATE TABLE audit (id bigint PRIMARY KEY, entity_id int NOT NULL, at timestamptz NOT NULL, action text NOT NULL, detail text);
INSERT INTO audit SELECT i, 1 + (random() * 2000)::int, timestamptz '2024-01-01' + random() * interval '500 days', 'a' || i % 9,
  repeat('d', 40) FROM generate_series(1, 100000) i;
CREATE INDEX audit_at_entity ON audit (at, entity_id);
CREATE TABLE countries (code text, name text);
INSERT INTO countries SELECT 'C' || i, 'Country ' || i FROM generate_series(1, 250) i;
CREATE TABLE jobs (id bigint PRIMARY KEY, queue text NOT NULL, state text NOT NULL, run_at timestamptz NOT NULL, priority int NOT NULL, body text);
INSERT INTO jobs SELECT i, 'q' || i % 5, CASE WHEN i % 150 = 0 THEN 'ready' WHEN i % 400 = 1 THEN 'failed' ELSE 'done' END,
  timestamptz '2024-01-01' + random() * interval '500 days', (random() * 10)::int, repeat('x', 100) FROM generate_series(1, 80000) i;
CREATE INDEX orders_reference ON orders (reference);
VACUUM ANALYZE
