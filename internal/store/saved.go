package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// SavedDrive is the kept drive of a stopped play: a file in the pool. Its row
// is there before the file, and goes after it.
type SavedDrive struct {
	ID        string
	Owner     string
	Bytes     int64
	Ready     bool // the file is whole and somebody holds it, or did
	CreatedAt time.Time
}

// Kinds of holders of a saved drive.
const (
	HeldByPlayground = "playground"
	HeldByPlay       = "play"
)

// Holder is who needs saved drives.
type Holder struct{ Kind, ID string }

// AddSavedDrives records drives that are about to be made, if their owner
// stays within the limits; the error is an *OverLimit else.
func (s *Store) AddSavedDrives(ctx context.Context, drives []SavedDrive, l Limits) error {
	return s.atomic(ctx, "save drives", func(tx *sql.Tx) error {
		for _, d := range drives {
			if err := l.admit(ctx, tx, d.Owner, Usage{PoolBytes: d.Bytes}, ""); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO saved_drives (id, owner, bytes, state, created_at) VALUES (?, ?, ?, ?, ?)`,
				d.ID, d.Owner, d.Bytes, "making", formatTime(d.CreatedAt)); err != nil {
				return err
			}
		}
		return nil
	})
}

// hold makes saved drives ready, and held until the holder goes; ErrNotFound if
// one is gone.
func hold(ctx context.Context, tx *sql.Tx, kind, holder string, drives []string) error {
	for _, d := range drives {
		result, err := tx.ExecContext(ctx, `UPDATE saved_drives SET state = 'ready' WHERE id = ? AND state <> 'removing'`, d)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrNotFound)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO saved_holders (drive, kind, holder) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, d, kind, holder); err != nil {
			return err
		}
	}
	return nil
}

// FinishSaved tells that nobody makes these drives any more; those that nobody
// holds can be taken then.
func (s *Store) FinishSaved(ctx context.Context, drives []SavedDrive) error {
	return s.atomic(ctx, "save drives", func(tx *sql.Tx) error {
		for _, d := range drives {
			if _, err := tx.ExecContext(ctx, `UPDATE saved_drives SET state = 'ready' WHERE id = ? AND state = 'making'`, d.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

func release(ctx context.Context, tx *sql.Tx, kind, holder string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM saved_holders WHERE kind = ? AND holder = ?`, kind, holder)
	return err
}

// ReleaseSaved tells that somebody needs saved drives no more.
func (s *Store) ReleaseSaved(ctx context.Context, h Holder) error {
	return s.exec(ctx, "release drives", `DELETE FROM saved_holders WHERE kind = ? AND holder = ?`, h.Kind, h.ID)
}

// SavedHolders returns everybody of a kind who needs any saved drive.
func (s *Store) SavedHolders(ctx context.Context, kind string) ([]string, error) {
	return collect(ctx, s.read, "list holders", scanText, `SELECT DISTINCT holder FROM saved_holders WHERE kind = ? ORDER BY holder`, kind)
}

// SavedDrives returns all of them.
func (s *Store) SavedDrives(ctx context.Context) ([]SavedDrive, error) {
	return collect(ctx, s.read, "list saved drives", scanSaved, `SELECT id, owner, bytes, state, created_at FROM saved_drives ORDER BY id`)
}

// TakeUnheld returns the drives that nobody holds, so marked that nobody can
// any more. Those that are being made only count if whoever made them is gone.
func (s *Store) TakeUnheld(ctx context.Context, unfinished bool) (drives []SavedDrive, err error) {
	err = s.atomic(ctx, "list saved drives", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE saved_drives SET state = 'removing'
			WHERE (state <> 'making' OR ? <> 0) AND id NOT IN (SELECT drive FROM saved_holders)`, truth(unfinished)); err != nil {
			return err
		}
		drives, err = collect(ctx, tx, "list saved drives", scanSaved, `SELECT id, owner, bytes, state, created_at FROM saved_drives
			WHERE state = 'removing' ORDER BY id`)
		return err
	})
	return drives, err
}

// DeleteSavedDrive forgets one that TakeUnheld returned, after its file is gone.
func (s *Store) DeleteSavedDrive(ctx context.Context, id string) error {
	return s.exec(ctx, "forget saved drive", `DELETE FROM saved_drives WHERE id = ? AND state = 'removing'`, id)
}

func scanSaved(rows *sql.Rows, d *SavedDrive) error {
	var state, at string
	err := rows.Scan(&d.ID, &d.Owner, &d.Bytes, &state, &at)
	d.Ready, d.CreatedAt = state == "ready", parseTime(at)
	return err
}
