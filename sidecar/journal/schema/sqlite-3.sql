-- What agents' sessions and tasks have taught, whatever becomes of the sessions (journal/profiles.py).
CREATE TABLE profiles (
    agent      TEXT NOT NULL PRIMARY KEY,
    learned_at REAL NOT NULL, -- server time of the last lesson; beyond a number of agents the oldest goes
    state      BLOB NOT NULL  -- a JSON object
) WITHOUT ROWID;
