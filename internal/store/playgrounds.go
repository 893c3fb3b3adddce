package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrExists is returned when a row with this key is there already.
var ErrExists = errors.New("exists already")

// Playground is a template that somebody made. Its name never changes.
type Playground struct {
	Name      string
	Owner     string // a user's id
	Base      string // a playground's name; it may be gone
	Manifest  []byte // the effective manifest, as JSON
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Use is how often one user started one playground, which may be gone.
type Use struct {
	Playground string
	User       string
	Starts     int
	Last       time.Time
}

const playgroundColumns = `name, owner, base, manifest, created_at, updated_at`

// AddPlayground creates the playground; ErrExists if the name is taken.
func (s *Store) AddPlayground(ctx context.Context, p Playground) error {
	n, err := s.count(ctx, "save playground", `INSERT INTO playgrounds (`+playgroundColumns+`) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO NOTHING`,
		p.Name, p.Owner, p.Base, string(p.Manifest), formatTime(p.CreatedAt), formatTime(p.UpdatedAt))
	if err == nil && n == 0 {
		err = ErrExists
	}
	return err
}

// ChangePlayground replaces the manifest; ErrNotFound if the playground is gone.
func (s *Store) ChangePlayground(ctx context.Context, name string, manifest []byte, at time.Time) error {
	n, err := s.count(ctx, "save playground", `UPDATE playgrounds SET manifest = ?, updated_at = ? WHERE name = ?`,
		string(manifest), formatTime(at), name)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// Playground returns the playground, or ErrNotFound.
func (s *Store) Playground(ctx context.Context, name string) (Playground, error) {
	return one(collect(ctx, s.db, "read playground", scanPlayground, `SELECT `+playgroundColumns+` FROM playgrounds WHERE name = ?`, name))
}

// Playgrounds returns all playgrounds by name.
func (s *Store) Playgrounds(ctx context.Context) ([]Playground, error) {
	return collect(ctx, s.db, "list playgrounds", scanPlayground, `SELECT `+playgroundColumns+` FROM playgrounds ORDER BY name`)
}

// PlaygroundsOf counts the playgrounds of a user.
func (s *Store) PlaygroundsOf(ctx context.Context, owner string) (int, error) {
	scan := func(rows *sql.Rows, n *int) error { return rows.Scan(n) }
	return one(collect(ctx, s.db, "count playgrounds", scan, `SELECT COUNT(*) FROM playgrounds WHERE owner = ?`, owner))
}

// DeletePlayground forgets the playground and its uses; one that is gone is no
// error.
func (s *Store) DeletePlayground(ctx context.Context, name string) error {
	if err := s.exec(ctx, "delete uses", `DELETE FROM playground_uses WHERE playground = ?`, name); err != nil {
		return err
	}
	return s.exec(ctx, "delete playground", `DELETE FROM playgrounds WHERE name = ?`, name)
}

// RecordUse counts one start of a playground.
func (s *Store) RecordUse(ctx context.Context, playground, user string, at time.Time) error {
	return s.exec(ctx, "record use", `INSERT INTO playground_uses (playground, user_id, starts, last_at) VALUES (?, ?, 1, ?)
		ON CONFLICT (playground, user_id) DO UPDATE SET starts = playground_uses.starts + 1, last_at = excluded.last_at`,
		playground, user, formatTime(at))
}

// Uses returns who started what, the last start first.
func (s *Store) Uses(ctx context.Context) ([]Use, error) {
	scan := func(rows *sql.Rows, u *Use) error {
		var at string
		err := rows.Scan(&u.Playground, &u.User, &u.Starts, &at)
		u.Last = parseTime(at)
		return err
	}
	return collect(ctx, s.db, "list uses", scan,
		`SELECT playground, user_id, starts, last_at FROM playground_uses ORDER BY last_at DESC, playground`)
}

func (s *Store) count(ctx context.Context, what, query string, args ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("cannot %s: %w", what, err)
	}
	return result.RowsAffected()
}

func scanPlayground(rows *sql.Rows, p *Playground) error {
	var created, updated, manifest string
	err := rows.Scan(&p.Name, &p.Owner, &p.Base, &manifest, &created, &updated)
	p.Manifest, p.CreatedAt, p.UpdatedAt = []byte(manifest), parseTime(created), parseTime(updated)
	return err
}
