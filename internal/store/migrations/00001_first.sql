-- +goose Up
-- Portable SQL only: the same file serves SQLite and PostgreSQL (ADR 0004).
-- Times are RFC 3339 in UTC with fixed width, so that text order is time order.
CREATE TABLE users (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL
);

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    token_hash TEXT NOT NULL,
    created_at TEXT NOT NULL
);

CREATE TABLE plays (
    id               TEXT PRIMARY KEY,
    owner            TEXT NOT NULL REFERENCES users (id),
    playground       TEXT NOT NULL,
    title            TEXT NOT NULL,
    manifest         TEXT NOT NULL,
    max_play_minutes INTEGER NOT NULL,
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL
);

-- What bender knows of the plays on its host.
CREATE TABLE bender_plays (
    play_id TEXT PRIMARY KEY,
    goal    TEXT NOT NULL,
    record  TEXT NOT NULL
);

CREATE TABLE bender_steps (
    play_id TEXT NOT NULL,
    name    TEXT NOT NULL,
    state   TEXT NOT NULL,
    PRIMARY KEY (play_id, name)
);

-- +goose Down
DROP TABLE bender_steps;
DROP TABLE bender_plays;
DROP TABLE plays;
DROP TABLE sessions;
DROP TABLE users;
