-- The embedded journal. Its version is `PRAGMA user_version`; each next file brings an older one up to date.

-- One row a session and commit. `entries` is a JSON array (journal/codec.py); their versions are `first`, `first` + 1, ...
-- Rows follow each other without a gap, so (session, first) decides which of two writers was first.
CREATE TABLE frames (
    id         INTEGER PRIMARY KEY, -- the order of commits
    session    TEXT    NOT NULL,
    first      INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    written_at REAL    NOT NULL,    -- server time, seconds since the epoch
    entries    BLOB    NOT NULL
);
CREATE UNIQUE INDEX frames_place ON frames (session, first);

-- The texts of items, written once, by the version of the put that brought them.
CREATE TABLE contents (
    session TEXT    NOT NULL,
    item    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    text    TEXT    NOT NULL
);
CREATE UNIQUE INDEX contents_place ON contents (session, item, version);

-- What left the window or shrank in it: the newest record of each item (journal/archive.py).
CREATE TABLE archive (
    session         TEXT    NOT NULL,
    item            TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    component       TEXT    NOT NULL,
    step            TEXT,             -- NULL: the host removed it
    reason          TEXT    NOT NULL,
    tokens_before   INTEGER NOT NULL,
    tokens_after    INTEGER NOT NULL,
    archived_at     REAL    NOT NULL, -- session time
    content_version INTEGER,          -- NULL: the host sent no content
    PRIMARY KEY (session, item)
) WITHOUT ROWID;
