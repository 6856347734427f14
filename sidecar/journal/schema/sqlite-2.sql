-- Bounded history: what a restart begins from, and what tells how old something is.

-- The newest snapshot of each session (journal/freezing.py).
CREATE TABLE snapshots (
    session    TEXT    NOT NULL PRIMARY KEY,
    version    INTEGER NOT NULL,
    written_at REAL    NOT NULL, -- when that version was written, server time
    stamp      TEXT    NOT NULL,
    state      BLOB    NOT NULL
);

-- Whether the frame's last entry closed the session.
ALTER TABLE frames ADD COLUMN closes INTEGER NOT NULL DEFAULT 0;
UPDATE frames SET closes = 1 WHERE json_extract(CAST(entries AS TEXT), '$[#-1].type') = 'closed';

-- Server time; what is older than this schema counts from its arrival.
ALTER TABLE archive ADD COLUMN stored_at REAL NOT NULL DEFAULT 0;
UPDATE archive SET stored_at = strftime('%s', 'now');
