-- What agents' sessions and tasks have taught, whatever becomes of the sessions (journal/profiles.py). The only table
-- that is not led by a session: a transaction that stores a lesson locks its agent's row, and no other.
CREATE TABLE profiles (
    agent      text COLLATE "C" NOT NULL PRIMARY KEY,
    learned_at double precision NOT NULL, -- server time of the last lesson; beyond a number of agents the oldest goes
    state      bytea            NOT NULL  -- a JSON object
);
