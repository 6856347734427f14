-- The shared journal. Its version is the newest row of `schema_versions`; each next file brings an older one up to date.
-- Every key is led by the session, nothing counts across sessions, and no transaction touches two of them.

-- One row a session and commit. `entries` is a JSON array (journal/codec.py); their versions are `first`, `first` + 1, ...
-- Rows follow each other without a gap, so the primary key decides which of two writers was first.
CREATE TABLE frames (
    session    text COLLATE "C" NOT NULL,
    first      bigint           NOT NULL,
    count      integer          NOT NULL,
    written_at double precision NOT NULL, -- server time of the writer, seconds since the epoch
    writer     text             NOT NULL,
    closes     boolean          NOT NULL, -- its last entry closed the session
    entries    bytea            NOT NULL,
    PRIMARY KEY (session, first)
);

-- The texts of items, written once, by the version of the put that brought them.
CREATE TABLE contents (
    session text COLLATE "C" NOT NULL,
    item    text COLLATE "C" NOT NULL,
    version bigint           NOT NULL,
    text    text COLLATE "C" NOT NULL, -- NUL characters written as journal/postgres_archive.py does
    PRIMARY KEY (session, item, version)
);

-- What left the window or shrank in it: the newest record of each item (journal/archive.py).
CREATE TABLE archive (
    session         text COLLATE "C" NOT NULL,
    item            text COLLATE "C" NOT NULL,
    kind            text COLLATE "C" NOT NULL,
    component       text COLLATE "C" NOT NULL,
    step            text COLLATE "C",          -- NULL: the host removed it
    reason          text COLLATE "C" NOT NULL,
    tokens_before   bigint           NOT NULL,
    tokens_after    bigint           NOT NULL,
    archived_at     double precision NOT NULL, -- session time
    content_version bigint,                    -- NULL: the host sent no content
    stored_at       double precision NOT NULL, -- server time
    PRIMARY KEY (session, item)
);

-- The newest snapshot of each session (journal/freezing.py).
CREATE TABLE snapshots (
    session    text COLLATE "C" NOT NULL PRIMARY KEY,
    version    bigint           NOT NULL,
    written_at double precision NOT NULL, -- when that version was written, server time
    stamp      text             NOT NULL,
    state      bytea            NOT NULL
);
