-- +goose Up

-- paused: the job stays queued and no worker takes it. metadata: a JSON object
-- of texts, or NULL. validation: id or name of a second dataset, or ''.
ALTER TABLE jobs ADD COLUMN paused BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE jobs ADD COLUMN metadata TEXT;
ALTER TABLE jobs ADD COLUMN validation TEXT NOT NULL DEFAULT '';

-- What happened to a job, in the order in which it did. A step has one row,
-- however often it is told.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    job     INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    step    INTEGER, -- of a step's numbers; else NULL
    level   TEXT NOT NULL DEFAULT 'info',
    message TEXT NOT NULL DEFAULT '',
    data    TEXT,
    created TIMESTAMP NOT NULL
);
CREATE INDEX events_job ON events (job, seq);
CREATE UNIQUE INDEX events_step ON events (job, step) WHERE step IS NOT NULL;

ALTER TABLE datasets ADD COLUMN expires TIMESTAMP;

-- files is one sequence over datasets and the result files of jobs. A result's
-- text is here; a dataset's is a file.
CREATE TABLE files (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    purpose TEXT NOT NULL CHECK (purpose IN ('fine-tune', 'fine-tune-results')),
    name    TEXT NOT NULL,
    bytes   INTEGER NOT NULL,
    text    TEXT,
    created TIMESTAMP NOT NULL,
    expires TIMESTAMP
);
INSERT INTO files (id, purpose, name, bytes, created)
    SELECT id, 'fine-tune', name, bytes, created FROM datasets ORDER BY seq;

-- +goose StatementBegin
CREATE TRIGGER datasets_file AFTER INSERT ON datasets
BEGIN
    INSERT INTO files (id, purpose, name, bytes, created, expires)
        VALUES (NEW.id, 'fine-tune', NEW.name, NEW.bytes, NEW.created, NEW.expires);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER datasets_unfile AFTER DELETE ON datasets
BEGIN
    DELETE FROM files WHERE id = OLD.id;
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER datasets_unfile;
DROP TRIGGER datasets_file;
DROP TABLE files;
ALTER TABLE datasets DROP COLUMN expires;
DROP TABLE events;
ALTER TABLE jobs DROP COLUMN validation;
ALTER TABLE jobs DROP COLUMN metadata;
ALTER TABLE jobs DROP COLUMN paused;
