CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN cents AS bigint CHECK (VALUE >= 0);
CREATE TABLE users (
    id bigint PRIMARY KEY, name text, email text, age int, tags text[], profile jsonb, active boolean,
    mood mood, manager_id bigint, created_at timestamptz DEFAULT now()
);
CREATE TABLE orders (
    id bigint PRIMARY KEY, user_id bigint, status text, cents bigint, note text, data json, placed_at timestamptz
);
CREATE TABLE items (id bigint PRIMARY KEY, order_id bigint, sku text, quantity int, cents bigint);
CREATE TABLE events (id bigint PRIMARY KEY, kind text, payload jsonb, span tstzrange, at timestamptz);
CREATE TABLE docs (id bigint PRIMARY KEY, title text, body text, search tsvector);
CREATE TABLE employees (id bigint PRIMARY KEY, name text, manager_id bigint, salary numeric, department text);
CREATE TABLE matrix (id int PRIMARY KEY, cells int[][], spot point, addr inet);
CREATE TABLE "for update" (id int PRIMARY KEY, "into" int, "delete from users" text);
CREATE TABLE "Größe" (id int PRIMARY KEY, "länge" int, straße text);
CREATE SCHEMA app;
CREATE TABLE app.settings (key text PRIMARY KEY, value jsonb);
CREATE VIEW active_users AS SELECT * FROM users WHERE active;
CREATE SEQUENCE invoices;
CREATE FUNCTION audit(what text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO events (id, kind) VALUES (1, what); RETURN 1; END $$;
CREATE FUNCTION app.audit(what text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN DELETE FROM events; RETURN 1; END $$;
CREATE FUNCTION "COUNT"(what text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO events (id, kind) VALUES (2, what); RETURN 1; END $$;
CREATE FUNCTION app.count(what text) RETURNS int LANGUAGE sql AS
    $$ INSERT INTO events (id, kind) VALUES (3, what) RETURNING 1 $$;
CREATE FUNCTION "count b"(what text) RETURNS int LANGUAGE sql AS
    $$ INSERT INTO events (id, kind) VALUES (4, what) RETURNING 1 $$;
CREATE FUNCTION rows_of(what text) RETURNS SETOF events LANGUAGE sql AS
    $$ INSERT INTO events (id, kind) VALUES (5, what) RETURNING * $$;
CREATE FUNCTION writes(a int, b int) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN DELETE FROM events; RETURN true; END $$;
CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = writes);
CREATE OPERATOR app.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = writes);
CREATE FUNCTION "max " (what text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN DELETE FROM events; RETURN 1; END $$;
CREATE PROCEDURE sweep() LANGUAGE sql AS $$ DELETE FROM events $$;
INSERT INTO users (id, name, tags, profile, active, mood) VALUES (1, 'Ada', '{a,b}', '{"a": {"b": 1}}', true, 'ok');
INSERT INTO orders (id, user_id, status, cents, placed_at) VALUES (1, 1, 'open', 100, now());
INSERT INTO items (id, order_id, sku, quantity, cents) VALUES (1, 1, 'a', 1, 100);
INSERT INTO employees (id, name, salary, department) VALUES (1, 'Eve', 10, 'it');
INSERT INTO events (id, kind, payload, at) VALUES (100, 'k', '{"a": [1, 2]}', now());
INSERT INTO matrix (id, cells, spot, addr) VALUES (1, '{{1,2},{3,4}}', '(1,1)', '10.0.0.1/8');
