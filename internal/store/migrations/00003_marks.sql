-- +goose Up

-- math: counts of the claims of mathematics in the answers, as JSON; NULL for
-- datasets that came before they were counted.
ALTER TABLE datasets ADD COLUMN math TEXT;

-- evaluations are marked one after the other; the states are those of jobs.
CREATE TABLE evaluations (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    state      TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    spec       TEXT NOT NULL,
    progress   REAL NOT NULL DEFAULT 0,
    report     TEXT,
    error      TEXT NOT NULL DEFAULT '',
    error_code TEXT NOT NULL DEFAULT '',
    cancel     BOOLEAN NOT NULL DEFAULT FALSE,
    attempts   INTEGER NOT NULL DEFAULT 0,
    created    TIMESTAMP NOT NULL,
    started    TIMESTAMP,
    finished   TIMESTAMP
);
CREATE INDEX evaluations_state ON evaluations (state, seq);

-- +goose Down
DROP TABLE evaluations;
ALTER TABLE datasets DROP COLUMN math;
