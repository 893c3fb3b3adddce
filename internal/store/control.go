package store

import (
	"context"
	"database/sql"
	"time"

	"sandlot/internal/play"
)

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
