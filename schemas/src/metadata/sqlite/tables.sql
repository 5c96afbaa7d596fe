-- Format 3. What a reader sees has the cut that added it and, later, the cut that removed it.

CREATE TABLE store (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    epoch INTEGER                           -- the newest that is committed
);

CREATE TABLE generations (
    generation INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at INTEGER NOT NULL
);

CREATE TABLE cuts (
    cut INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,                     -- epoch, create, rollup, evolve, maintain, tables
    epoch INTEGER,
    opened_at INTEGER,
    added_at INTEGER NOT NULL,
    generation INTEGER NOT NULL
);
CREATE INDEX cuts_by_time ON cuts (added_at);

CREATE TABLE segments (
    segment INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL
);

CREATE TABLE parts (
    part INTEGER PRIMARY KEY AUTOINCREMENT,
    segment INTEGER NOT NULL REFERENCES segments,
    name TEXT NOT NULL,
    tier TEXT NOT NULL,
    first_byte INTEGER NOT NULL,
    last_byte INTEGER NOT NULL,             -- exclusive
    rows INTEGER NOT NULL,
    least INTEGER NOT NULL,
    greatest INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    added_cut INTEGER NOT NULL,
    removed_cut INTEGER
);
CREATE INDEX parts_by_removed ON parts (removed_cut);
CREATE INDEX parts_by_segment ON parts (segment);

CREATE TABLE versions (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    tier TEXT NOT NULL,
    version TEXT NOT NULL,
    rows INTEGER NOT NULL,
    least INTEGER,
    greatest INTEGER,
    columns INTEGER NOT NULL,               -- the revision of the logical table that it has
    intent INTEGER NOT NULL,                -- the newest intent in it
    marked_by INTEGER NOT NULL,             -- the generation in that intent's mark
    added_cut INTEGER NOT NULL,
    removed_cut INTEGER
);
CREATE INDEX versions_by_table ON versions (name, tier, removed_cut);

CREATE TABLE tables (
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    schema TEXT NOT NULL,
    added_cut INTEGER NOT NULL,
    removed_cut INTEGER,
    PRIMARY KEY (name, revision)
);

CREATE TABLE intents (
    name TEXT NOT NULL,
    tier TEXT NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    parts TEXT NOT NULL,                    -- JSON: their numbers
    columns INTEGER NOT NULL,               -- the revision of the logical table when it was planned
    generation INTEGER NOT NULL,
    planned_at INTEGER NOT NULL,
    payload BLOB,
    given_up INTEGER,
    PRIMARY KEY (name, tier)                -- one open intent a table
);

CREATE TABLE counters (
    name TEXT NOT NULL,
    tier TEXT NOT NULL,
    newest INTEGER NOT NULL,
    maintained INTEGER NOT NULL DEFAULT 0,  -- the newest maintenance that was flipped
    PRIMARY KEY (name, tier)
);

CREATE TABLE pins (
    pin INTEGER PRIMARY KEY AUTOINCREMENT,
    cut INTEGER NOT NULL,
    holder TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE progress (
    source TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    cluster_id TEXT NOT NULL,
    topic_id TEXT NOT NULL,
    first_offset INTEGER NOT NULL DEFAULT 0,
    next_offset INTEGER NOT NULL,
    watermark INTEGER,
    idle INTEGER NOT NULL,
    PRIMARY KEY (source, topic, partition)
);

-- A topic that is made anew has another id from some epoch on; rows from before keep the old one.
CREATE TABLE topic_ids (
    topic TEXT NOT NULL,
    topic_id TEXT NOT NULL,
    since_epoch INTEGER NOT NULL,
    PRIMARY KEY (topic, topic_id)
);

CREATE TABLE gaps (
    source TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    kind TEXT NOT NULL,
    first_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL            -- exclusive
);
CREATE INDEX gaps_by_end ON gaps (source, topic, partition, kind, last_offset);

CREATE TABLE branches (
    branch INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    statement TEXT NOT NULL,
    filters INTEGER NOT NULL,
    started_at TEXT NOT NULL,               -- JSON: [topic, partition, offset]
    first_epoch INTEGER NOT NULL,
    closed_epoch INTEGER                    -- the first that it no longer read in; null while it is live
);

CREATE TABLE conservation (
    branch INTEGER NOT NULL REFERENCES branches,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    read INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    windowed INTEGER NOT NULL,
    filtered INTEGER NOT NULL,
    late INTEGER NOT NULL,
    dead_letters INTEGER NOT NULL,
    open INTEGER NOT NULL,
    PRIMARY KEY (branch, topic, partition)
);

CREATE TABLE dropped_fields (
    source TEXT PRIMARY KEY,
    fields INTEGER NOT NULL
);

CREATE TABLE pauses (
    source TEXT NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (source, topic)
);

CREATE TABLE mappings (
    key TEXT PRIMARY KEY,
    json TEXT NOT NULL
);
