-- +goose Up
-- Plans: what a user may have; the plans themselves stand in the
-- configuration. "" is the default one.
ALTER TABLE users ADD COLUMN plan TEXT NOT NULL DEFAULT '';

-- What counts against a plan. goal is running, stopped or ended; disk_bytes the
-- promised size of all drives; ends_at and started_at may be empty.
ALTER TABLE plays ADD COLUMN goal TEXT NOT NULL DEFAULT 'running';
ALTER TABLE plays ADD COLUMN persistent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE plays ADD COLUMN disk_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE plays ADD COLUMN started_at TEXT NOT NULL DEFAULT '';
ALTER TABLE plays ADD COLUMN ends_at TEXT NOT NULL DEFAULT '';
-- The end of which people were warned.
ALTER TABLE plays ADD COLUMN warned_at TEXT NOT NULL DEFAULT '';
-- What lists show of the manifest, as JSON of control's making; empty in rows
-- of older versions.
ALTER TABLE plays ADD COLUMN summary TEXT NOT NULL DEFAULT '';
UPDATE plays SET started_at = created_at;

CREATE INDEX plays_owner ON plays (owner, created_at);
CREATE INDEX plays_use ON plays (owner, goal, persistent, disk_bytes);
CREATE INDEX plays_goal ON plays (goal, ends_at);

-- The same for the catalog and the search.
ALTER TABLE playgrounds ADD COLUMN summary TEXT NOT NULL DEFAULT '';

CREATE INDEX playground_uses_user ON playground_uses (user_id, last_at);

-- Drives of stopped plays that were kept: files in the pool. state is making
-- or ready; one that nobody holds is removed.
CREATE TABLE saved_drives (
    id         TEXT PRIMARY KEY,
    owner      TEXT NOT NULL REFERENCES users (id),
    bytes      BIGINT NOT NULL,
    state      TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX saved_drives_owner ON saved_drives (owner, bytes);

-- Who needs a saved drive: kind is playground or play.
CREATE TABLE saved_holders (
    drive  TEXT NOT NULL REFERENCES saved_drives (id),
    kind   TEXT NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (drive, kind, holder)
);
CREATE INDEX saved_holders_holder ON saved_holders (kind, holder);

-- +goose Down
DROP TABLE saved_holders;
DROP TABLE saved_drives;
ALTER TABLE playgrounds DROP COLUMN summary;
DROP INDEX playground_uses_user;
DROP INDEX plays_goal;
DROP INDEX plays_use;
DROP INDEX plays_owner;
ALTER TABLE plays DROP COLUMN summary;
ALTER TABLE plays DROP COLUMN warned_at;
ALTER TABLE plays DROP COLUMN ends_at;
ALTER TABLE plays DROP COLUMN started_at;
ALTER TABLE plays DROP COLUMN disk_bytes;
ALTER TABLE plays DROP COLUMN persistent;
ALTER TABLE plays DROP COLUMN goal;
ALTER TABLE users DROP COLUMN plan;
