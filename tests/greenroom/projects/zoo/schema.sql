-- One of each kind of thing that a rewind must bring back.
CREATE SCHEMA "Odd Schema";
CREATE TYPE mood AS ENUM ('calm', 'wild');

CREATE TABLE plain (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
CREATE TABLE seeded (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name varchar(40) NOT NULL UNIQUE,
    doubled int GENERATED ALWAYS AS (length(name) * 2) STORED,
    mood mood NOT NULL DEFAULT 'calm',
    tags text[] NOT NULL DEFAULT '{}',
    span int4range,
    document jsonb,
    raw json,
    bytes bytea,
    at timestamptz NOT NULL DEFAULT '2020-01-01Z',
    large text
);
ALTER TABLE seeded ALTER COLUMN large SET STORAGE EXTERNAL;
INSERT INTO seeded (name, tags, span, document, raw, bytes, large) VALUES
    ('one', '{a,b}', '[1,5)', '{"k": [1, null]}', '{"b":1,  "a":2}', '\x00ff', repeat('x', 20000)),
    ('two', '{}', NULL, NULL, NULL, NULL, NULL),
    ('three', '{c}', 'empty', '"text"', 'null', '\x', repeat('y', 9000));
ALTER TABLE seeded ADD COLUMN gone int;
ALTER TABLE seeded DROP COLUMN gone;
CREATE TYPE place AS (street text, "No." int);
CREATE DOMAIN code AS citext CHECK (length(VALUE) < 9);
CREATE DOMAIN moment AS timestamptz;
CREATE TYPE visit AS (at timestamptz, took interval, share float8, key bytea);
CREATE TABLE typed (
    mood mood, code code, moods mood[] NOT NULL, place place, counted int GENERATED ALWAYS AS (cardinality(moods)) STORED,
    PRIMARY KEY (mood, code)
);
INSERT INTO typed VALUES ('wild', 'Ab', '{wild,calm}', ('a "b", c', NULL)), ('calm', 'cd', '{}', NULL);
CREATE TABLE typed_without_key (code citext, place place[]);
ALTER TABLE typed ADD COLUMN at moment DEFAULT '2024-02-03 04:05:06.789+07', ADD COLUMN visit visit;
UPDATE typed SET visit = ('2024-07-01Z', '1 day -00:00:01', 0.1 + 0.2::float8, '\x00ff');
-- What is copied as text must be the same whatever the database's settings are.
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET DateStyle TO ''SQL, DMY''', current_database()); END $$;
INSERT INTO typed_without_key VALUES ('A', ARRAY[ROW('x', 1), NULL]::place[]), ('a', NULL);
CREATE TABLE seeded_without_key (word text);
INSERT INTO seeded_without_key VALUES ('a'), ('a'), (NULL);
CREATE TABLE "Odd Schema"."Odd ""Table" ("Odd id" serial PRIMARY KEY, "select" text);
INSERT INTO "Odd Schema"."Odd ""Table" ("select") VALUES ('from');

CREATE SEQUENCE free_standing START 100 INCREMENT 5;
CREATE SEQUENCE used_already;
SELECT nextval('used_already') FROM generate_series(1, 7);

CREATE TABLE hen (id int PRIMARY KEY, egg_id int);
CREATE TABLE egg (id int PRIMARY KEY, hen_id int NOT NULL REFERENCES hen DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE hen ADD FOREIGN KEY (egg_id) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE node (id int PRIMARY KEY, parent_id int REFERENCES node ON DELETE CASCADE);
INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2);
CREATE TABLE leaf (id int PRIMARY KEY, node_id int REFERENCES node ON DELETE SET NULL);
INSERT INTO leaf VALUES (1, 3);

CREATE TABLE audit (id bigserial PRIMARY KEY, what text);
CREATE TABLE audited (id int PRIMARY KEY);
CREATE FUNCTION write_audit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO audit (what) VALUES (TG_TABLE_NAME || ' ' || TG_OP); RETURN NULL; END $$;
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON audited FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TABLE loud (id int PRIMARY KEY);
INSERT INTO loud VALUES (1);
CREATE TRIGGER loud AFTER INSERT OR UPDATE OR DELETE ON loud FOR EACH ROW EXECUTE FUNCTION write_audit();
ALTER TABLE loud ENABLE ALWAYS TRIGGER loud;
TRUNCATE audit RESTART IDENTITY;
CREATE TABLE ruled (id int PRIMARY KEY);
CREATE RULE keep_all AS ON DELETE TO ruled DO INSTEAD NOTHING;

CREATE TABLE measured (at date NOT NULL, value int) PARTITION BY RANGE (at);
CREATE TABLE measured_2024 PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE measured_rest PARTITION OF measured DEFAULT;
INSERT INTO measured VALUES ('2024-05-05', 1), ('2020-01-01', 2);
CREATE TABLE animal (id int, name text);
CREATE TABLE cat (lives int) INHERITS (animal);
INSERT INTO cat VALUES (1, 'Tom', 9);
CREATE UNLOGGED TABLE fleeting (id int);

CREATE TABLE secret (owner text, id int);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (owner = current_setting('app.owner', true));
CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM plain;
CREATE UNIQUE INDEX ON summary (count);
CREATE TABLE booking (room int4range, EXCLUDE USING gist (room WITH &&));
INSERT INTO booking VALUES ('[1,3)'), ('[3,5)');
CREATE VIEW seen AS SELECT id, note FROM plain;
SELECT lo_from_bytea(4711, '\xcafe');
