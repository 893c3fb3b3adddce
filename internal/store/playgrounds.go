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
	Manifest  []byte // the effective manifest, as JSON; lists leave it out
	Summary   string // what lists show of it, as JSON of control's making
	CreatedAt time.Time
	UpdatedAt time.Time
}

const (
	playgroundHead    = `name, owner, base, summary, created_at, updated_at`
	playgroundColumns = playgroundHead + `, manifest`
)

// AddPlayground creates the playground, which holds the saved drives from then
// on. The error is ErrExists if the name is taken, an *OverLimit beyond the
// owner's limits.
func (s *Store) AddPlayground(ctx context.Context, p Playground, l Limits, saved []string) error {
	return s.atomic(ctx, "save playground", func(tx *sql.Tx) error {
		if err := l.admit(ctx, tx, p.Owner, Usage{Playgrounds: 1}, ""); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `INSERT INTO playgrounds (`+playgroundColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING`,
			p.Name, p.Owner, p.Base, p.Summary, formatTime(p.CreatedAt), formatTime(p.UpdatedAt), string(p.Manifest))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrExists)
		}
		return hold(ctx, tx, HeldByPlayground, p.Name, saved)
	})
}

// ChangePlayground replaces manifest, summary and what is held; ErrNotFound if
// the playground is gone.
func (s *Store) ChangePlayground(ctx context.Context, p Playground, saved []string) error {
	return s.atomic(ctx, "save playground", func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE playgrounds SET manifest = ?, summary = ?, updated_at = ? WHERE name = ?`,
			string(p.Manifest), p.Summary, formatTime(p.UpdatedAt), p.Name)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrNotFound)
		}
		return errors.Join(release(ctx, tx, HeldByPlayground, p.Name), hold(ctx, tx, HeldByPlayground, p.Name, saved))
	})
}

// SummarizePlayground writes the summary of a row of an older version.
func (s *Store) SummarizePlayground(ctx context.Context, name, summary string) error {
	return s.exec(ctx, "save playground", `UPDATE playgrounds SET summary = ? WHERE name = ? AND summary = ''`, summary, name)
}

// Playground returns the playground, or ErrNotFound.
func (s *Store) Playground(ctx context.Context, name string) (Playground, error) {
	scan := func(rows *sql.Rows, p *Playground) error { return scanPlayground(rows, p, &p.Manifest) }
	return one(collect(ctx, s.read, "read playground", scan, `SELECT `+playgroundColumns+` FROM playgrounds WHERE name = ?`, name))
}

// Playgrounds returns all playgrounds by name, without their manifests.
func (s *Store) Playgrounds(ctx context.Context) ([]Playground, error) {
	scan := func(rows *sql.Rows, p *Playground) error { return scanPlayground(rows, p) }
	return collect(ctx, s.read, "list playgrounds", scan, `SELECT `+playgroundHead+` FROM playgrounds ORDER BY name`)
}

// DeletePlayground forgets the playground, its uses and what it held; one that
// is gone is no error.
func (s *Store) DeletePlayground(ctx context.Context, name string) error {
	return s.atomic(ctx, "delete playground", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM playground_uses WHERE playground = ?`, name)
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM playgrounds WHERE name = ?`, name)
		}
		return errors.Join(err, release(ctx, tx, HeldByPlayground, name))
	})
}

// RecordUse counts one start of a playground.
func (s *Store) RecordUse(ctx context.Context, playground, user string, at time.Time) error {
	return s.exec(ctx, "record use", `INSERT INTO playground_uses (playground, user_id, starts, last_at) VALUES (?, ?, 1, ?)
		ON CONFLICT (playground, user_id) DO UPDATE SET starts = playground_uses.starts + 1, last_at = excluded.last_at`,
		playground, user, formatTime(at))
}

// UsedBy names the playgrounds that a user started, the last start first.
func (s *Store) UsedBy(ctx context.Context, user string) ([]string, error) {
	return collect(ctx, s.read, "list uses", scanText,
		`SELECT playground FROM playground_uses WHERE user_id = ? ORDER BY last_at DESC, playground`, user)
}

// MostUsed names the playgrounds that were started most, by anybody.
func (s *Store) MostUsed(ctx context.Context) ([]string, error) {
	return collect(ctx, s.read, "list uses", scanText,
		`SELECT playground FROM playground_uses GROUP BY playground ORDER BY SUM(starts) DESC, playground`)
}

func (s *Store) count(ctx context.Context, what, query string, args ...any) (int64, error) {
	defer s.seen.wrote.Store(true)
	result, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("cannot %s: %w", what, err)
	}
	return result.RowsAffected()
}

func scanPlayground(rows *sql.Rows, p *Playground, more ...any) error {
	var created, updated string
	err := rows.Scan(append([]any{&p.Name, &p.Owner, &p.Base, &p.Summary, &created, &updated}, more...)...)
	p.CreatedAt, p.UpdatedAt = parseTime(created), parseTime(updated)
	return err
}
