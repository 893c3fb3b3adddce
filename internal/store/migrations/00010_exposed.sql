-- +goose Up
-- Ports and shells that a play's owner exposed. The id is a host name's first
-- label.
CREATE TABLE exposed (
    id           TEXT PRIMARY KEY,
    play_id      TEXT NOT NULL REFERENCES plays (id) ON DELETE CASCADE,
    kind         TEXT NOT NULL,
    machine      TEXT NOT NULL,
    number       INTEGER NOT NULL,
    user_name    TEXT NOT NULL,
    access       TEXT NOT NULL,
    tls          INTEGER NOT NULL,
    host_rewrite TEXT NOT NULL,
    path_rewrite TEXT NOT NULL,
    created_at   TEXT NOT NULL
);

CREATE INDEX exposed_play ON exposed (play_id);

-- Port forwards that clients saved, in the order of position; those of the
-- playground are copied in with the first change.
CREATE TABLE port_forwards (
    play_id  TEXT NOT NULL REFERENCES plays (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    record   TEXT NOT NULL,
    PRIMARY KEY (play_id, position)
);

-- Which plays have such a list, be it empty.
CREATE TABLE port_forwards_begun (
    play_id TEXT PRIMARY KEY REFERENCES plays (id) ON DELETE CASCADE
);

-- +goose Down
DROP TABLE port_forwards_begun;
DROP TABLE port_forwards;
DROP TABLE exposed;
