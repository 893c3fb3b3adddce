-- +goose Up
-- Playgrounds that people made; the official ones ship with labd.
CREATE TABLE playgrounds (
    name       TEXT PRIMARY KEY,
    owner      TEXT NOT NULL REFERENCES users (id),
    base       TEXT NOT NULL,
    manifest   TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE INDEX playgrounds_owner ON playgrounds (owner);

-- Who started which playground, official ones too: the rows of plays go a day
-- after their end.
CREATE TABLE playground_uses (
    playground TEXT NOT NULL,
    user_id    TEXT NOT NULL REFERENCES users (id),
    starts     INTEGER NOT NULL,
    last_at    TEXT NOT NULL,
    PRIMARY KEY (playground, user_id)
);

-- +goose Down
DROP TABLE playground_uses;
DROP TABLE playgrounds;
