#!/usr/bin/env bash
# Measures the figures of choosing-a-store.md on a PostgreSQL (15 or newer).
#   measure.sh postgres://user:password@host/db
# Prints NAME=value lines. A time is in ms, a rate per second: the median of 5 runs after one that is
# not counted. A size is taken once. What did not fit into LIMIT_S is printed as NA.
# Works in a schema of its own, which it makes and drops; it refuses to touch one that is there already.
# LIMIT_S=180 ROWS=1000000 DOCS=500000 can be set; lower the rows on a slow disk.
set -euo pipefail

URL=${1:?usage: measure.sh POSTGRES_URL}
LIMIT_S=${LIMIT_S:-180}
ROWS=${ROWS:-1000000}
DOCS=${DOCS:-500000}
SCHEMA=mainstay_measure
RUNS=5
SECONDS=0
RESERVE=5 # seconds kept for taking the schema away

left_ms() {
  local ms=$(((LIMIT_S - RESERVE - SECONDS) * 1000))
  echo $((ms > 1 ? ms : 1))
}

# Runs the SQL on stdin, bounded by the time that is left; prints unaligned rows. Its end is bounded here as well: a COMMIT
# that waits for a synchronous standby does not heed statement_timeout.
run() {
  PGOPTIONS="-c search_path=$SCHEMA,public -c client_min_messages=warning -c statement_timeout=$(left_ms) -c maintenance_work_mem=256MB" \
    timeout -k 1 $(($(left_ms) / 1000 + 1)) psql -XqAt -v ON_ERROR_STOP=1 "$URL" -f -
}

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }

# times "SQL" ["SQL before, not timed"]: the median in ms. Where the SQL has {n} it is the run's number, 0 to 5.
times() {
  local sql=$1 before=${2:-} i
  {
    for ((i = 0; i <= RUNS; i++)); do
      [[ -n $before ]] && printf '%s;\n' "${before//'{n}'/$i}"
      printf '\\timing on\n%s;\n\\timing off\n' "${sql//'{n}'/$i}"
    done
  } | run 2>/dev/null | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n +2 | median
}

say() { printf '%s=%s\n' "$1" "${2:-NA}"; }
# A time in ms, three digits.
time_of() { local v; v=$(times "$2" "${3:-}") || v=; say "$1" "$([[ -n $v ]] && awk -v v="$v" 'BEGIN { printf (v < 10 ? "%.2f" : v < 100 ? "%.1f" : "%.0f"), v }')"; }
# A rate: rate_of NAME COUNT SQL [BEFORE].
rate_of() { local v; v=$(times "$3" "${4:-}") || v=; say "$1" "$([[ -n $v ]] && awk -v v="$v" -v n="$2" 'BEGIN { printf "%.0f", n * 1000 / v }')"; }
value_of() { local v; v=$(run <<<"$2" 2>/dev/null) || v=; say "$1" "$v"; }
mb_of() { value_of "$1" "SELECT round(pg_relation_size('$2') / 1048576.0, 1)"; }
step() { echo "# $1 (${SECONDS}s)" >&2; }

# Made before the trap, so that a schema of this name that is somebody's is not dropped.
psql -XqAt -v ON_ERROR_STOP=1 "$URL" -c "CREATE SCHEMA $SCHEMA"
trap 'psql -XqAt "$URL" -c "SET client_min_messages = warning; DROP SCHEMA $SCHEMA CASCADE" || true' EXIT
value_of SERVER "SHOW server_version"

# --- documents ---------------------------------------------------------------------------------------------------
step "documents: $ROWS rows"
documents() {
  run <<SQL
CREATE FUNCTION body(i bigint) RETURNS jsonb LANGUAGE sql VOLATILE AS \$\$
  SELECT jsonb_build_object('sku', 's' || i, 'brand', 'b' || i % 1000, 'price', (random() * 10000)::int,
    'tags', jsonb_build_array('t' || (random() * 200)::int, 't' || (random() * 200)::int),
    'attrs', jsonb_build_object('color', 'c' || (random() * 20)::int, 'size', (random() * 50)::int)) \$\$;
CREATE TABLE doc (id bigint PRIMARY KEY, body jsonb NOT NULL);
INSERT INTO doc SELECT i, body(i) FROM generate_series(1, $ROWS) i;
CREATE SEQUENCE doc_next START $((ROWS + 1));
CREATE UNLOGGED TABLE stage AS SELECT body(i) AS body FROM generate_series($ROWS + 1, $ROWS + 10000) i;
VACUUM ANALYZE doc;
SQL
}
documents || true
FIND="SELECT id FROM doc WHERE body @> '{\"brand\": \"b17\", \"tags\": [\"t5\"]}'"
ADD="INSERT INTO doc SELECT nextval('doc_next'), body FROM stage"
mb_of JSON_TABLE_MB doc
time_of JSON_SCAN_MS "$FIND"
rate_of JSON_INSERT_PLAIN_PER_S 10000 "$ADD"

step "documents: GIN, jsonb_path_ops"
run <<<"CREATE INDEX doc_path ON doc USING gin (body jsonb_path_ops)" || true
mb_of JSON_GIN_PATH_MB doc_path
time_of JSON_GIN_MS "$FIND"
rate_of JSON_INSERT_PATH_PER_S 10000 "$ADD"
run <<<"DROP INDEX IF EXISTS doc_path" || true

step "documents: GIN, jsonb_ops"
run <<<"CREATE INDEX doc_ops ON doc USING gin (body)" || true
mb_of JSON_GIN_OPS_MB doc_ops
rate_of JSON_INSERT_OPS_PER_S 10000 "$ADD"
run <<<"DROP INDEX IF EXISTS doc_ops" || true

step "documents: B-tree on an expression"
run <<<"CREATE INDEX doc_sku ON doc ((body ->> 'sku')); ANALYZE doc" || true
mb_of JSON_EXPR_MB doc_sku
time_of JSON_EXPR_MS "SELECT id FROM doc WHERE body ->> 'sku' = 's$((ROWS / 2))'"
rate_of JSON_INSERT_EXPR_PER_S 10000 "$ADD"
run <<<"DROP TABLE IF EXISTS doc, stage" || true

# --- partitions and BRIN -----------------------------------------------------------------------------------------
# 12 days of 200,000 rows: 6 are dropped, 6 are deleted (and vacuumed).
step "partitions"
partitions() {
  run <<'SQL'
CREATE TABLE event (id bigint, at timestamptz NOT NULL, device int NOT NULL, reading float8 NOT NULL,
  PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
DO $$ BEGIN FOR d IN 0..11 LOOP
  EXECUTE format('CREATE TABLE %I PARTITION OF event FOR VALUES FROM (%L) TO (%L)',
    CASE WHEN d < 6 THEN 'event_' || d ELSE 'event_d' || d - 6 END,
    '2030-01-01 00:00+00'::timestamptz + d * interval '1 day', '2030-01-02 00:00+00'::timestamptz + d * interval '1 day');
END LOOP; END $$;
INSERT INTO event SELECT i, '2030-01-01 00:00+00'::timestamptz + i * interval '0.432 s', i % 500, random()
  FROM generate_series(0, 2399999) i;
VACUUM ANALYZE event;
SQL
}
partitions || true
time_of PART_DROP_MS "DROP TABLE event_{n}"
DAY() { echo "('2030-01-01 00:00+00'::timestamptz + ($1) * interval '1 day')"; }
time_of PART_DELETE_MS "DELETE FROM event WHERE at >= $(DAY '6 + {n}') AND at < $(DAY '7 + {n}')"
mb_of PART_DELETED_LEFT_MB event_d5
time_of PART_VACUUM_MS "VACUUM event_d{n}"

step "BRIN"
run <<'SQL' || true
CREATE TABLE reading (at timestamptz NOT NULL, device int NOT NULL, reading float8 NOT NULL);
INSERT INTO reading SELECT '2030-01-01 00:00+00'::timestamptz + i * interval '0.864 s', i % 500, random()
  FROM generate_series(1, 1000000) i;
CREATE INDEX reading_brin ON reading USING brin (at);
VACUUM ANALYZE reading;
SQL
HOUR="SELECT avg(reading) FROM reading WHERE at >= '2030-01-05 03:00+00' AND at < '2030-01-05 04:00+00'"
value_of BRIN_KB "SELECT pg_relation_size('reading_brin') / 1024"
time_of BRIN_HOUR_MS "$HOUR"
run <<<"DROP INDEX IF EXISTS reading_brin; CREATE INDEX reading_btree ON reading (at); ANALYZE reading" || true
mb_of BTREE_MB reading_btree
time_of BTREE_HOUR_MS "$HOUR"

# --- key and value -----------------------------------------------------------------------------------------------
step "key and value"
run <<'SQL' || true
CREATE TABLE kv_logged (key text PRIMARY KEY, value bytea NOT NULL, until timestamptz NOT NULL);
CREATE UNLOGGED TABLE kv_unlogged (LIKE kv_logged INCLUDING ALL);
SQL
# Upserts over 200 keys, each in a transaction of its own, in one session, inside of the server.
upserts() {
  echo "DO \$\$ BEGIN FOR i IN 1..$2 LOOP
    INSERT INTO $1 VALUES ('k' || i % 200, repeat('x', 200)::bytea, now() + interval '1 hour')
      ON CONFLICT (key) DO UPDATE SET value = excluded.value, until = excluded.until;
    COMMIT; END LOOP; END \$\$"
}
rate_of KV_LOGGED_PER_S 200 "$(upserts kv_logged 200)"
rate_of KV_ASYNC_PER_S 5000 "$(upserts kv_logged 5000)" "SET synchronous_commit = off"
rate_of KV_UNLOGGED_PER_S 5000 "$(upserts kv_unlogged 5000)"

# --- queue -------------------------------------------------------------------------------------------------------
step "queue"
run <<'SQL' || true
CREATE TABLE work (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload jsonb NOT NULL);
INSERT INTO work (payload) SELECT '{}' FROM generate_series(1, 20000);
ANALYZE work;
SQL
# One worker takes one row a transaction.
rate_of QUEUE_CLAIM_PER_S 200 "DO \$\$ BEGIN FOR i IN 1..200 LOOP
  DELETE FROM work WHERE id = (SELECT id FROM work ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1); COMMIT; END LOOP; END \$\$"

# --- leaderboard -------------------------------------------------------------------------------------------------
step "leaderboard: $ROWS players"
run <<SQL || true
CREATE TABLE score (player bigint PRIMARY KEY, points bigint NOT NULL);
INSERT INTO score SELECT i, (random() * 1e9)::bigint FROM generate_series(1, $ROWS) i;
CREATE INDEX score_points ON score (points DESC, player);
VACUUM ANALYZE score;
SQL
time_of BOARD_TOP_MS "SELECT player, points FROM score ORDER BY points DESC, player LIMIT 100"
time_of BOARD_RANK_1000_MS "SELECT count(*) + 1 FROM score WHERE points > 999000000"
time_of BOARD_RANK_MIDDLE_MS "SELECT count(*) + 1 FROM score WHERE points > 500000000"
run <<<"DROP TABLE IF EXISTS event, reading, score" || true

# --- full text ---------------------------------------------------------------------------------------------------
step "full text: $DOCS documents"
# 20,000 made-up words, drawn with a frequency of about 1/rank; a document is a title and 3 of 20,000 sentences of 10 words.
texts() {
  run <<SQL
CREATE TABLE word (rank int PRIMARY KEY, word text NOT NULL);
INSERT INTO word SELECT i, (ARRAY['ba','ke','lo','mi','nu','pra','ste','vo','zan','tri'])[i % 10 + 1]
  || (ARRAY['dor','fal','gim','hob','jun','kar','lep','mot','nix','pol'])[i / 10 % 10 + 1]
  || (ARRAY['ra','se','ti','vu','wo','xa','yo','zu','qua','bri'])[i / 100 % 10 + 1]
  || (ARRAY['k','lm','n','p','rk','st','t','v','x','nd'])[i / 1000 % 10 + 1] || CASE WHEN i >= 10000 THEN 'o' ELSE '' END
  FROM generate_series(0, 19999) i;
CREATE UNLOGGED TABLE sentence AS
  SELECT s AS n, string_agg(w.word, ' ') AS line
  FROM (SELECT s, least(19999, floor(exp(random() * ln(20000))))::int AS rank
        FROM generate_series(0, 19999) s, generate_series(1, 10)) d JOIN word w USING (rank) GROUP BY s;
ALTER TABLE sentence ADD PRIMARY KEY (n);
CREATE TABLE article (id bigint PRIMARY KEY, title text NOT NULL, body text NOT NULL,
  search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', body), 'B')) STORED);
CREATE FUNCTION lines() RETURNS text[] LANGUAGE sql STABLE AS 'SELECT array_agg(line ORDER BY n) FROM sentence';
CREATE UNLOGGED TABLE texts AS
  WITH l AS MATERIALIZED (SELECT lines() AS a)
  SELECT i AS id, split_part(a[1 + (random() * 19999)::int], ' ', 1) || ' ' || i AS title,
    a[1 + (random() * 19999)::int] || '. ' || a[1 + (random() * 19999)::int] || '. ' || a[1 + (random() * 19999)::int] AS body
  FROM generate_series(1, $DOCS + 72000) i, l;
INSERT INTO article (id, title, body) SELECT id, title, body FROM texts WHERE id <= $DOCS;
DELETE FROM texts WHERE id <= $DOCS;
VACUUM ANALYZE article;
ANALYZE texts;
SQL
}
texts || true
pick() { run <<<"SELECT word FROM word WHERE rank = $1" 2>/dev/null || true; }
COMMON=$(pick 20) MIDDLE=$(pick 200) RARE=$(pick 3000)
# A typo: two letters of the rare word change places.
TYPO=${RARE:0:3}${RARE:4:1}${RARE:3:1}${RARE:5}
top() { echo "SELECT id, ts_rank_cd(search, q) AS r FROM article, websearch_to_tsquery('english', '$1') q WHERE search @@ q ORDER BY r DESC, id LIMIT 20"; }
matches() { value_of "$1" "SELECT count(*) FROM article WHERE search @@ websearch_to_tsquery('english', '$2')"; }
more() { echo "INSERT INTO article (id, title, body) SELECT id, title, body FROM texts WHERE id > $DOCS + $1 + {n} * 6000 AND id <= $DOCS + $1 + ({n} + 1) * 6000"; }
mb_of FTS_TABLE_MB article
time_of FTS_ILIKE_MS "SELECT count(*) FROM article WHERE body ILIKE '%$RARE%'"
rate_of FTS_INSERT_PLAIN_PER_S 6000 "$(more 0)"
run <<<"CREATE INDEX article_search ON article USING gin (search); VACUUM ANALYZE article" || true
mb_of FTS_GIN_MB article_search
matches FTS_RARE_ROWS "$RARE"
time_of FTS_RARE_MS "$(top "$RARE")"
matches FTS_TWO_ROWS "$COMMON $MIDDLE"
time_of FTS_TWO_MS "$(top "$COMMON $MIDDLE")"
matches FTS_COMMON_ROWS "$COMMON"
time_of FTS_COMMON_MS "$(top "$COMMON")"
rate_of FTS_INSERT_GIN_PER_S 6000 "$(more 36000)"

step "typos"
run <<SQL 2>/dev/null || true
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA $SCHEMA;
CREATE INDEX word_trgm ON word USING gin (word gin_trgm_ops);
ANALYZE word;
SQL
time_of TYPO_MS "SELECT word FROM word WHERE word % '$TYPO' ORDER BY similarity(word, '$TYPO') DESC, word LIMIT 5"
value_of TYPO_FOUND "SELECT count(*) FROM (SELECT word FROM word WHERE word % '$TYPO' ORDER BY similarity(word, '$TYPO') DESC, word LIMIT 5) f WHERE word = '$RARE'"
step "done"
