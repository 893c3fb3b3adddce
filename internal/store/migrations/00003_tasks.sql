-- +goose Up
-- What bender knows of a play's tasks, as JSON of its own making; a task that
-- has not begun has no row.
CREATE TABLE bender_tasks (
    play_id TEXT NOT NULL,
    name    TEXT NOT NULL,
    record  TEXT NOT NULL,
    PRIMARY KEY (play_id, name)
);

-- +goose Down
DROP TABLE bender_tasks;
