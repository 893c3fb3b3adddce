-- +goose Up
-- Accounts: local passwords (argon2id), roles, and what signs a person in.
-- Tokens, codes and cookies are kept as hex SHA-256 only.
ALTER TABLE users ADD COLUMN password_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'user';
ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN region TEXT NOT NULL DEFAULT '';
UPDATE users SET role = 'administrator' WHERE id = 'admin';

-- kind is cli or browser; expires_at is empty for a session that does not end.
ALTER TABLE sessions ADD COLUMN kind TEXT NOT NULL DEFAULT 'cli';
ALTER TABLE sessions ADD COLUMN about TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN expires_at TEXT NOT NULL DEFAULT '';
CREATE INDEX sessions_user ON sessions (user_id);

-- Sessions of the CLI that nobody has confirmed yet.
CREATE TABLE login_requests (
    id         TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL,
    code_hash  TEXT NOT NULL UNIQUE,
    about      TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);

-- Links that are good once: first, invite, password, signin.
CREATE TABLE links (
    token_hash TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);

CREATE TABLE access_tokens (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    name       TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    scopes     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);
CREATE INDEX access_tokens_user ON access_tokens (user_id);

-- Who somebody is at an OpenID Connect provider.
CREATE TABLE identities (
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id),
    PRIMARY KEY (issuer, subject)
);

CREATE TABLE audit (
    id         TEXT PRIMARY KEY,
    at         TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    user_name  TEXT NOT NULL,
    via        TEXT NOT NULL,
    address    TEXT NOT NULL,
    action     TEXT NOT NULL,
    target     TEXT NOT NULL,
    result     TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);

-- +goose Down
DROP TABLE audit;
DROP TABLE identities;
DROP TABLE access_tokens;
DROP TABLE links;
DROP TABLE login_requests;
DROP INDEX sessions_user;
ALTER TABLE sessions DROP COLUMN expires_at;
ALTER TABLE sessions DROP COLUMN about;
ALTER TABLE sessions DROP COLUMN kind;
ALTER TABLE users DROP COLUMN region;
ALTER TABLE users DROP COLUMN disabled;
ALTER TABLE users DROP COLUMN role;
ALTER TABLE users DROP COLUMN password_hash;
