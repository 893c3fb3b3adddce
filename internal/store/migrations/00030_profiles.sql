-- +goose Up
-- What people call themselves, and where a provider says that they are reached.
ALTER TABLE users ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE identities ADD COLUMN email TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE identities DROP COLUMN email;
ALTER TABLE users DROP COLUMN display_name;
