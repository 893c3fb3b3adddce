package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Roles of a user.
const (
	RoleUser          = "user"
	RoleAdministrator = "administrator"
)

// User is an account of labd.
type User struct {
	ID           string
	Name         string // unique
	PasswordHash string // argon2id; empty: no password opens it
	Role         string
	Disabled     bool
	Region       string
	Plan         string // "" is the default one
	DisplayName  string // what they call themselves; may be empty
	CreatedAt    time.Time
}

// Kinds of sessions.
const (
	SessionCLI     = "cli"
	SessionBrowser = "browser"
)

// Session is one set of API credentials of a user.
type Session struct {
	ID        string
	UserID    string
	TokenHash string // hex SHA-256 of the token; the token itself is not kept
	Kind      string
	About     string // where it was made, for the user to tell it from others
	CreatedAt time.Time
	ExpiresAt time.Time // zero: it does not end by itself
}

const userColumns = `id, name, password_hash, role, disabled, region, plan, display_name, created_at`

// AddUser creates the user; ErrExists if the name or id is taken.
func (s *Store) AddUser(ctx context.Context, u User) error {
	n, err := s.count(ctx, "save user", `INSERT INTO users (`+userColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, u.ID, u.Name, u.PasswordHash, u.Role, truth(u.Disabled), u.Region, u.Plan, u.DisplayName, formatTime(u.CreatedAt))
	if err == nil && n == 0 {
		err = ErrExists
	}
	return err
}

// SetPassword replaces a user's name and password hash and ends all sessions
// and tokens but one; ErrExists if the name is another's.
func (s *Store) SetPassword(ctx context.Context, id, name, hash, keepSession string) (ended []string, err error) {
	err = s.atomic(ctx, "set password", func(tx *sql.Tx) error {
		var others int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM users WHERE name = ? AND id <> ?`, name, id).Scan(&others); err != nil {
			return err
		}
		if others > 0 {
			return ErrExists
		}
		if _, err := tx.ExecContext(ctx, `UPDATE users SET name = ?, password_hash = ? WHERE id = ?`, name, hash, id); err != nil {
			return err
		}
		ended, err = endAccess(ctx, tx, id, keepSession)
		return err
	})
	return ended, err
}

// SetDisabled locks a user out, ending all sessions and tokens, or lets them
// in again.
func (s *Store) SetDisabled(ctx context.Context, id string, disabled bool) error {
	return s.atomic(ctx, "change user", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE users SET disabled = ? WHERE id = ?`, truth(disabled), id); err != nil || !disabled {
			return err
		}
		_, err := endAccess(ctx, tx, id, "")
		return err
	})
}

// endAccess removes what signs a user in without a password, except what
// does not end by itself: the host's own administrator session.
func endAccess(ctx context.Context, tx *sql.Tx, user, keepSession string) (ended []string, err error) {
	if ended, err = endSessions(ctx, tx, user, keepSession); err != nil {
		return nil, err
	}
	for _, query := range []string{
		`DELETE FROM access_tokens WHERE user_id = ? AND id <> ?`,
		`DELETE FROM links WHERE user_id = ? AND token_hash <> ?`,
	} {
		if _, err := tx.ExecContext(ctx, query, user, keepSession); err != nil {
			return nil, err
		}
	}
	return ended, nil
}

// endSessions removes a user's sessions but one and those that do not end by
// themselves, and returns their ids.
func endSessions(ctx context.Context, tx *sql.Tx, user, keep string) (ended []string, err error) {
	return collect(ctx, tx, "delete sessions", scanText,
		`DELETE FROM sessions WHERE user_id = ? AND id <> ? AND expires_at <> '' RETURNING id`, user, keep)
}

// SetRegion keeps what the user prefers.
func (s *Store) SetRegion(ctx context.Context, id, region string) error {
	return s.exec(ctx, "change user", `UPDATE users SET region = ? WHERE id = ?`, region, id)
}

// SetDisplayName keeps what the user calls themselves; it may be empty.
func (s *Store) SetDisplayName(ctx context.Context, id, name string) error {
	return s.exec(ctx, "change user", `UPDATE users SET display_name = ? WHERE id = ?`, name, id)
}

// SetPlan gives a user a plan; "" is the default one.
func (s *Store) SetPlan(ctx context.Context, id, plan string) error {
	return s.exec(ctx, "change user", `UPDATE users SET plan = ? WHERE id = ?`, plan, id)
}

// UserByName returns the user, or ErrNotFound.
func (s *Store) UserByName(ctx context.Context, name string) (User, error) {
	return one(collect(ctx, s.read, "read user", scanUser, `SELECT `+userColumns+` FROM users WHERE name = ?`, name))
}

// User returns the user with this id, or ErrNotFound.
func (s *Store) User(ctx context.Context, id string) (User, error) {
	return one(collect(ctx, s.read, "read user", scanUser, `SELECT `+userColumns+` FROM users WHERE id = ?`, id))
}

// UserByIdentity returns the user whom a provider knows by this subject, or
// ErrNotFound.
func (s *Store) UserByIdentity(ctx context.Context, issuer, subject string) (User, error) {
	return one(collect(ctx, s.read, "read user", scanUser, `SELECT `+userColumns+` FROM users
		WHERE id = (SELECT user_id FROM identities WHERE issuer = ? AND subject = ?)`, issuer, subject))
}

// PutIdentity tells whom a provider knows by this subject, and at what address,
// which may be empty.
func (s *Store) PutIdentity(ctx context.Context, issuer, subject, user, email string) error {
	return s.exec(ctx, "save identity", `INSERT INTO identities (issuer, subject, user_id, email) VALUES (?, ?, ?, ?)
		ON CONFLICT (issuer, subject) DO UPDATE SET email = excluded.email`, issuer, subject, user, email)
}

// WithIdentity has the users whom a provider knows, by their ids, with their
// addresses there, which may be empty.
func (s *Store) WithIdentity(ctx context.Context) (map[string]string, error) {
	scan := func(rows *sql.Rows, r *[2]string) error { return rows.Scan(&r[0], &r[1]) }
	list, err := collect(ctx, s.read, "list identities", scan, `SELECT user_id, email FROM identities ORDER BY email`)
	known := make(map[string]string, len(list))
	for _, r := range list {
		known[r[0]] = r[1]
	}
	return known, err
}

// SetRole makes a user an administrator, or one no more.
func (s *Store) SetRole(ctx context.Context, id, role string) error {
	return s.exec(ctx, "change user", `UPDATE users SET role = ? WHERE id = ?`, role, id)
}

// Users returns all users by name.
func (s *Store) Users(ctx context.Context) ([]User, error) {
	return collect(ctx, s.read, "list users", scanUser, `SELECT `+userColumns+` FROM users ORDER BY name`)
}

// Settled tells whether anybody can sign in: with a password or through a
// provider.
func (s *Store) Settled(ctx context.Context) (bool, error) {
	scan := func(rows *sql.Rows, n *int) error { return rows.Scan(n) }
	n, err := one(collect(ctx, s.read, "count users", scan,
		`SELECT (SELECT COUNT(*) FROM users WHERE password_hash <> '') + (SELECT COUNT(*) FROM identities)`))
	return n > 0, err
}

// PlaysOfDisabled returns the ids of plays whose owner is locked out.
func (s *Store) PlaysOfDisabled(ctx context.Context) ([]string, error) {
	return collect(ctx, s.read, "list plays", scanText,
		`SELECT plays.id FROM plays JOIN users ON users.id = plays.owner WHERE users.disabled <> 0`)
}

func scanUser(rows *sql.Rows, u *User) error {
	var at string
	var disabled int
	err := rows.Scan(&u.ID, &u.Name, &u.PasswordHash, &u.Role, &disabled, &u.Region, &u.Plan, &u.DisplayName, &at)
	u.Disabled, u.CreatedAt = disabled != 0, parseTime(at)
	return err
}

const sessionColumns = `id, user_id, token_hash, kind, about, created_at, expires_at`

// PutSession creates the session, or replaces its token.
func (s *Store) PutSession(ctx context.Context, c Session) error {
	if c.Kind == "" {
		c.Kind = SessionCLI
	}
	return s.exec(ctx, "save session", `INSERT INTO sessions (`+sessionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash`,
		c.ID, c.UserID, c.TokenHash, c.Kind, c.About, formatTime(c.CreatedAt), formatEnd(c.ExpiresAt))
}

// Session returns the session, or ErrNotFound.
func (s *Store) Session(ctx context.Context, id string) (Session, error) {
	return one(collect(ctx, s.read, "read session", scanSession, `SELECT `+sessionColumns+` FROM sessions WHERE id = ?`, id))
}

// SessionsOf returns a user's sessions, newest first.
func (s *Store) SessionsOf(ctx context.Context, user string) ([]Session, error) {
	return collect(ctx, s.read, "list sessions", scanSession,
		`SELECT `+sessionColumns+` FROM sessions WHERE user_id = ? ORDER BY created_at DESC`, user)
}

func scanSession(rows *sql.Rows, c *Session) error {
	var created, ends string
	err := rows.Scan(&c.ID, &c.UserID, &c.TokenHash, &c.Kind, &c.About, &created, &ends)
	c.CreatedAt, c.ExpiresAt = parseTime(created), parseTime(ends)
	return err
}

// DeleteSession forgets the session; one that is gone is no error.
func (s *Store) DeleteSession(ctx context.Context, id string) error {
	return s.exec(ctx, "delete session", `DELETE FROM sessions WHERE id = ?`, id)
}

// DeleteSessions ends a user's sessions but one and those that do not end by
// themselves; it returns their ids.
func (s *Store) DeleteSessions(ctx context.Context, user, keep string) (ended []string, err error) {
	err = s.atomic(ctx, "delete sessions", func(tx *sql.Tx) error {
		ended, err = endSessions(ctx, tx, user, keep)
		return err
	})
	return ended, err
}

// formatEnd is formatTime with "" for no end.
func formatEnd(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return formatTime(t)
}

// truth is a boolean in SQL that both databases read.
func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// atomic does all of f or nothing.
func (s *Store) atomic(ctx context.Context, what string, f func(tx *sql.Tx) error) error {
	defer s.seen.wrote.Store(true)
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return wrap(what, err)
	}
	if err := f(tx); err != nil {
		return errors.Join(wrap(what, err), tx.Rollback())
	}
	return wrap(what, tx.Commit())
}
