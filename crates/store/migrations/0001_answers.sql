-- Schema 1: answers, the tree of their items, keys of requests, heads of conversations, and logs that are put away.
--
-- What refers to another row does so by its number, which never changes; the ids of the wire stand in one place each.

-- One row for each answer there is. What is left of one that is gone keeps its row while any of its items is there:
-- state 0 runs, 1 has ended, 2 was taken by retention (its owner is told so), 3 was deleted (its id is forgotten).
CREATE TABLE answers (
    number   INTEGER PRIMARY KEY,
    id       TEXT UNIQUE,
    owner    TEXT NOT NULL,
    state    INTEGER NOT NULL,
    readable INTEGER NOT NULL,
    parent   INTEGER,          -- the item it continues; it holds that item in the tree
    head     INTEGER,          -- the item where the next turn goes on
    ended_at INTEGER,          -- seconds since 1970
    place    INTEGER           -- its place among those that ended in that second, or among those that have expired
) STRICT;
CREATE INDEX answers_by_parent ON answers (parent) WHERE parent IS NOT NULL;
CREATE INDEX answers_running ON answers (number) WHERE state = 0;
CREATE INDEX answers_by_end ON answers (ended_at, place) WHERE state = 1;
CREATE INDEX answers_by_expiry ON answers (place) WHERE state = 2;

-- The tree. A child's number is larger than its parent's.
CREATE TABLE items (
    number INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE,
    answer INTEGER NOT NULL,   -- the answer it was sent for, or was made in
    side   INTEGER NOT NULL,   -- 0 input, 1 output
    parent INTEGER,
    json   TEXT                -- NULL when it was deleted and only holds its place
) STRICT;
CREATE INDEX items_by_answer ON items (answer);
CREATE INDEX items_by_parent ON items (parent) WHERE parent IS NOT NULL;

-- Idempotency keys.
CREATE TABLE claims (
    owner   TEXT NOT NULL,
    key     TEXT NOT NULL,
    request BLOB NOT NULL,     -- SHA-256 of the path and the body
    answer  TEXT NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_by_answer ON claims (answer);

-- Where named conversations stand.
CREATE TABLE heads (
    owner   TEXT NOT NULL,
    name    TEXT NOT NULL,
    answer  TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (owner, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX heads_by_use ON heads (used_at);

-- Finished logs.
CREATE TABLE logs (
    number  INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    entries INTEGER NOT NULL,
    bytes   INTEGER NOT NULL   -- what its chunks take
) STRICT;

-- Their entries, many to a chunk: each a length of four bytes, little end first, and the event's bytes. Compressed as an
-- LZ4 block where that makes it smaller than raw_bytes.
CREATE TABLE chunks (
    number    INTEGER PRIMARY KEY,
    log       INTEGER NOT NULL,
    first     INTEGER NOT NULL, -- the position of its first entry
    raw_bytes INTEGER NOT NULL,
    crc32     INTEGER NOT NULL, -- of the raw bytes
    data      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX chunks_by_place ON chunks (log, first);

-- One row: what everything takes, kept in step with it so that a start has nothing to count.
CREATE TABLE totals (
    item_bytes INTEGER NOT NULL,
    log_bytes  INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (0, 0);
