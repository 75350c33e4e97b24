-- +goose Up

-- seq is the order of creation; the clock may jump, the sequence does not.
CREATE TABLE datasets (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    conversations INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    created       TIMESTAMP NOT NULL
);
CREATE INDEX datasets_name ON datasets (name);

CREATE TABLE jobs (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    state       TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    name        TEXT NOT NULL DEFAULT '',
    dataset     TEXT NOT NULL DEFAULT '',
    spec        TEXT NOT NULL,
    progress    TEXT,
    result      TEXT,
    error       TEXT NOT NULL DEFAULT '',
    error_code  TEXT NOT NULL DEFAULT '',
    error_step  INTEGER NOT NULL DEFAULT 0,
    cancel      BOOLEAN NOT NULL DEFAULT FALSE,
    attempts    INTEGER NOT NULL DEFAULT 0,
    key         TEXT,
    fingerprint TEXT NOT NULL DEFAULT '',
    created     TIMESTAMP NOT NULL,
    started     TIMESTAMP,
    finished    TIMESTAMP
);
CREATE UNIQUE INDEX jobs_key ON jobs (key);
CREATE INDEX jobs_state ON jobs (state, seq);
CREATE UNIQUE INDEX jobs_live_name ON jobs (name COLLATE NOCASE)
    WHERE name <> '' AND state IN ('queued', 'running');

-- +goose StatementBegin
CREATE TRIGGER jobs_legal BEFORE UPDATE OF state ON jobs
WHEN NEW.state <> OLD.state AND NOT (
       (OLD.state = 'queued' AND NEW.state IN ('running', 'cancelled', 'failed'))
    OR (OLD.state = 'running' AND NEW.state IN ('queued', 'succeeded', 'failed', 'cancelled')))
BEGIN
    SELECT RAISE(ABORT, 'illegal change of a job''s state');
END;
-- +goose StatementEnd

CREATE TABLE points (
    job  INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (job, step)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE points;
DROP TABLE jobs;
DROP TABLE datasets;
