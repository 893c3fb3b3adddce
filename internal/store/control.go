package store

import (
	"context"
	"database/sql"
	"time"

	"sandlot/internal/play"
)

// User is an account of labd.
type User struct {
	ID        string
	Name      string
	CreatedAt time.Time
}

// Session is one set of API credentials of a user.
type Session struct {
	ID        string
	UserID    string
	TokenHash string // hex SHA-256 of the token; the token itself is not kept
	CreatedAt time.Time
}

// Play is what the control plane knows of a play; where it runs and how it
// fares is bender's.
type Play struct {
	ID             play.ID
	Owner          string
	Playground     string
	Title          string
	Manifest       []byte // the effective manifest, as JSON
	MaxPlayMinutes int    // 0 means no limit
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// PutUser creates the user or changes its name.
func (s *Store) PutUser(ctx context.Context, u User) error {
	return s.exec(ctx, "save user", `INSERT INTO users (id, name, created_at) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name`, u.ID, u.Name, formatTime(u.CreatedAt))
}

// UserByName returns the user, or ErrNotFound.
func (s *Store) UserByName(ctx context.Context, name string) (User, error) {
	return one(collect(ctx, s.db, "read user", scanUser, `SELECT id, name, created_at FROM users WHERE name = ?`, name))
}

// User returns the user with this id, or ErrNotFound.
func (s *Store) User(ctx context.Context, id string) (User, error) {
	return one(collect(ctx, s.db, "read user", scanUser, `SELECT id, name, created_at FROM users WHERE id = ?`, id))
}

func scanUser(rows *sql.Rows, u *User) error {
	var at string
	err := rows.Scan(&u.ID, &u.Name, &at)
	u.CreatedAt = parseTime(at)
	return err
}

// PutSession creates the session, or replaces its token.
func (s *Store) PutSession(ctx context.Context, c Session) error {
	return s.exec(ctx, "save session", `INSERT INTO sessions (id, user_id, token_hash, created_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash`, c.ID, c.UserID, c.TokenHash, formatTime(c.CreatedAt))
}

// Session returns the session, or ErrNotFound.
func (s *Store) Session(ctx context.Context, id string) (Session, error) {
	scan := func(rows *sql.Rows, c *Session) error {
		var at string
		err := rows.Scan(&c.ID, &c.UserID, &c.TokenHash, &at)
		c.CreatedAt = parseTime(at)
		return err
	}
	return one(collect(ctx, s.db, "read session", scan,
		`SELECT id, user_id, token_hash, created_at FROM sessions WHERE id = ?`, id))
}

// DeleteSession forgets the session; one that is gone is no error.
func (s *Store) DeleteSession(ctx context.Context, id string) error {
	return s.exec(ctx, "delete session", `DELETE FROM sessions WHERE id = ?`, id)
}

const playColumns = `id, owner, playground, title, manifest, max_play_minutes, created_at, updated_at`

// PutPlay creates the play or replaces everything but its id and owner.
func (s *Store) PutPlay(ctx context.Context, p Play) error {
	return s.exec(ctx, "save play", `INSERT INTO plays (`+playColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET playground = excluded.playground, title = excluded.title,
			manifest = excluded.manifest, max_play_minutes = excluded.max_play_minutes, updated_at = excluded.updated_at`,
		p.ID, p.Owner, p.Playground, p.Title, string(p.Manifest), p.MaxPlayMinutes, formatTime(p.CreatedAt), formatTime(p.UpdatedAt))
}

// Play returns the play, or ErrNotFound.
func (s *Store) Play(ctx context.Context, id play.ID) (Play, error) {
	return one(collect(ctx, s.db, "read play", scanPlay, `SELECT `+playColumns+` FROM plays WHERE id = ?`, id))
}

// Plays returns all plays, newest first.
func (s *Store) Plays(ctx context.Context) ([]Play, error) {
	return collect(ctx, s.db, "list plays", scanPlay, `SELECT `+playColumns+` FROM plays ORDER BY created_at DESC`)
}

// DeletePlay forgets the play; one that is gone is no error.
func (s *Store) DeletePlay(ctx context.Context, id play.ID) error {
	return s.exec(ctx, "delete play", `DELETE FROM plays WHERE id = ?`, id)
}

func scanPlay(rows *sql.Rows, p *Play) error {
	var created, updated, manifest string
	err := rows.Scan(&p.ID, &p.Owner, &p.Playground, &p.Title, &manifest, &p.MaxPlayMinutes, &created, &updated)
	p.Manifest, p.CreatedAt, p.UpdatedAt = []byte(manifest), parseTime(created), parseTime(updated)
	return err
}
