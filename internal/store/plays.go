package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"sandlot/internal/play"
)

// Goals of a play, as far as they count.
const (
	GoalRunning = "running"
	GoalStopped = "stopped"
	GoalEnded   = "ended"
)

// Play is what the control plane knows of a play; where it runs and how it
// fares is bender's. Two are equal if everything in them is.
type Play struct {
	ID         play.ID
	Owner      string
	Playground string
	Title      string
	Manifest   string // the effective manifest, as JSON; lists leave it out
	Summary    string // what lists show of it, as JSON of control's making
	// Goal, Persistent and DiskBytes count against the owner's plan.
	Goal       string
	Persistent bool  // it is stopped when its time is up, not destroyed
	DiskBytes  int64 // promised size of all drives
	// MaxPlayMinutes is how long it may run from StartedAt on; 0 means no
	// limit. EndsAt is when that is over, zero for never or while it is stopped.
	MaxPlayMinutes int
	StartedAt      time.Time
	EndsAt         time.Time
	WarnedAt       time.Time // the EndsAt of which people were warned
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

const (
	playHead = `id, owner, playground, title, summary, goal, persistent, disk_bytes, max_play_minutes,
		started_at, ends_at, warned_at, created_at, updated_at`
	playColumns = playHead + `, manifest`
)

// AddPlay creates the play, if its owner stays within the limits; the error
// is an *OverLimit else. It holds the saved drives from then on.
func (s *Store) AddPlay(ctx context.Context, p Play, l Limits, saved []string) error {
	defer s.lists.wrote(p.Owner)
	return s.atomic(ctx, "save play", func(tx *sql.Tx) error {
		if err := l.admit(ctx, tx, p.Owner, playUse(p), string(p.ID)); err != nil {
			return err
		}
		if err := writePlay(ctx, tx, p); err != nil {
			return err
		}
		return hold(ctx, tx, HeldByPlay, string(p.ID), saved)
	})
}

// ChangePlay lets f change everything but the id, owner and manifest, and
// returns the play as it is then. An increase of what counts must stay within
// the limits; the error is an *OverLimit else, and ErrNotFound if it is gone.
func (s *Store) ChangePlay(ctx context.Context, id play.ID, l Limits, f func(p *Play)) (Play, error) {
	var p Play
	defer func() { s.lists.wrote(p.Owner) }()
	err := s.atomic(ctx, "change play", func(tx *sql.Tx) error {
		var err error
		if p, err = one(collect(ctx, tx, "read play", scanPlay, `SELECT `+playColumns+` FROM plays WHERE id = ?`, id)); err != nil {
			return err
		}
		before := p
		f(&p)
		if err := l.admit(ctx, tx, p.Owner, playUse(p).above(playUse(before)), string(id)); err != nil {
			return err
		}
		return writePlay(ctx, tx, p)
	})
	return p, err
}

func writePlay(ctx context.Context, tx *sql.Tx, p Play) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO plays (`+playColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET title = excluded.title, summary = excluded.summary, goal = excluded.goal,
			persistent = excluded.persistent, disk_bytes = excluded.disk_bytes, max_play_minutes = excluded.max_play_minutes,
			started_at = excluded.started_at, ends_at = excluded.ends_at, warned_at = excluded.warned_at, updated_at = excluded.updated_at`,
		p.ID, p.Owner, p.Playground, p.Title, p.Summary, p.Goal, truth(p.Persistent), p.DiskBytes, p.MaxPlayMinutes,
		formatTime(p.StartedAt), formatEnd(p.EndsAt), formatEnd(p.WarnedAt), formatTime(p.CreatedAt), formatTime(p.UpdatedAt), p.Manifest)
	return err
}

// Play returns the play, or ErrNotFound.
func (s *Store) Play(ctx context.Context, id play.ID) (Play, error) {
	return one(collect(ctx, s.read, "read play", scanPlay, `SELECT `+playColumns+` FROM plays WHERE id = ?`, id))
}

// PlayHead is Play without the manifest.
func (s *Store) PlayHead(ctx context.Context, id play.ID) (Play, error) {
	return one(collect(ctx, s.read, "read play", scanHead, `SELECT `+playHead+` FROM plays WHERE id = ?`, id))
}

// Plays returns all plays, newest first, without their manifests.
func (s *Store) Plays(ctx context.Context) ([]Play, error) {
	return collect(ctx, s.read, "list plays", scanHead, `SELECT `+playHead+` FROM plays ORDER BY created_at DESC`)
}

// PlaysOf returns a user's plays, newest first, without their manifests: those
// that have not ended, or not before a time. A limit of 0 is none.
func (s *Store) PlaysOf(ctx context.Context, owner string, endedSince time.Time, limit, offset int) ([]Play, error) {
	all, writes, ok := s.lists.get(owner)
	if !ok {
		var err error
		all, err = collect(ctx, s.read, "list plays", scanHead, `SELECT `+playHead+` FROM plays WHERE owner = ? ORDER BY created_at DESC`, owner)
		if err != nil {
			return nil, err
		}
		s.lists.put(owner, all, writes)
	}
	var page []Play
	for _, p := range all {
		if p.Goal == GoalEnded && !p.UpdatedAt.After(endedSince) {
			continue
		}
		if offset--; offset < 0 {
			page = append(page, p)
		}
		if len(page) == limit && limit > 0 {
			break
		}
	}
	return page, nil
}

// PlaysEnding returns the running plays whose time is up by then, without
// their manifests.
func (s *Store) PlaysEnding(ctx context.Context, by time.Time) ([]Play, error) {
	return collect(ctx, s.read, "list plays", scanHead, `SELECT `+playHead+` FROM plays
		WHERE goal = ? AND ends_at <> '' AND ends_at <= ? ORDER BY ends_at`, GoalRunning, formatTime(by))
}

// ForgetPlays forgets the plays that ended before a time.
func (s *Store) ForgetPlays(ctx context.Context, before time.Time) error {
	defer s.lists.wrote("")
	return s.exec(ctx, "forget plays", `DELETE FROM plays WHERE goal = ? AND updated_at < ?`, GoalEnded, formatTime(before))
}

// DeletePlay forgets the play and what it held; one that is gone is no error.
func (s *Store) DeletePlay(ctx context.Context, id play.ID) error {
	defer s.lists.wrote("")
	return s.atomic(ctx, "delete play", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM plays WHERE id = ?`, id)
		return errors.Join(err, release(ctx, tx, HeldByPlay, string(id)))
	})
}

func scanHead(rows *sql.Rows, p *Play) error { return scanColumns(rows, p) }

func scanPlay(rows *sql.Rows, p *Play) error { return scanColumns(rows, p, &p.Manifest) }

func scanColumns(rows *sql.Rows, p *Play, more ...any) error {
	var started, ends, warned, created, updated string
	var persistent int
	err := rows.Scan(append([]any{&p.ID, &p.Owner, &p.Playground, &p.Title, &p.Summary, &p.Goal, &persistent, &p.DiskBytes,
		&p.MaxPlayMinutes, &started, &ends, &warned, &created, &updated}, more...)...)
	p.Persistent = persistent != 0
	p.StartedAt, p.EndsAt, p.WarnedAt = parseTime(started), parseTime(ends), parseTime(warned)
	p.CreatedAt, p.UpdatedAt = parseTime(created), parseTime(updated)
	return err
}
