package store

import (
	"context"
	"database/sql"
	"fmt"
)

// Limits bound what one user has at a time; 0 means no limit. They are
// checked in the transaction that adds to it, so that no number of requests
// at once exceeds them.
type Limits struct {
	Plays       int   // that run
	StoredPlays int   // that are stopped, or will be when their time is up
	PoolBytes   int64 // promised size of the drives of plays and playgrounds
	Playgrounds int
}

// Usage is what a user has of each.
type Usage struct {
	Plays, StoredPlays, Playgrounds int
	PoolBytes                       int64
}

// OverLimit is the error of what would exceed a limit.
type OverLimit struct {
	// What is the name of the limit: LimitPlays and so on.
	What string
	// Have is what the user has without the addition, Add the addition.
	Have, Add, Limit int64
}

// Names of limits.
const (
	LimitPlays       = "plays"
	LimitStoredPlays = "stored plays"
	LimitPool        = "pool space"
	LimitPlaygrounds = "playgrounds"
)

func (e *OverLimit) Error() string {
	return fmt.Sprintf("limit of %s: %d and %d are more than %d", e.What, e.Have, e.Add, e.Limit)
}

// UseOf counts what a user has.
func (s *Store) UseOf(ctx context.Context, owner string) (Usage, error) {
	return useOf(ctx, s.read, owner, "")
}

func playUse(p Play) (u Usage) {
	if p.Goal == GoalEnded {
		return u
	}
	u.PoolBytes = p.DiskBytes
	if p.Goal == GoalRunning {
		u.Plays = 1
	}
	if p.Persistent || p.Goal == GoalStopped {
		u.StoredPlays = 1
	}
	return u
}

// above is u where it is more than before, whole: the rest of what the user
// has is counted without both.
func (u Usage) above(before Usage) Usage {
	if u.Plays <= before.Plays {
		u.Plays = 0
	}
	if u.StoredPlays <= before.StoredPlays {
		u.StoredPlays = 0
	}
	if u.PoolBytes <= before.PoolBytes {
		u.PoolBytes = 0
	}
	return u
}

// admit tells whether the owner may have more, beside all but one play.
func (l Limits) admit(ctx context.Context, q querier, owner string, more Usage, but string) error {
	have, err := useOf(ctx, q, owner, but)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what             string
		have, add, limit int64
	}{
		{LimitPlays, int64(have.Plays), int64(more.Plays), int64(l.Plays)},
		{LimitStoredPlays, int64(have.StoredPlays), int64(more.StoredPlays), int64(l.StoredPlays)},
		{LimitPlaygrounds, int64(have.Playgrounds), int64(more.Playgrounds), int64(l.Playgrounds)},
		{LimitPool, have.PoolBytes, more.PoolBytes, l.PoolBytes},
	} {
		if c.limit > 0 && c.add > 0 && c.have+c.add > c.limit {
			return &OverLimit{c.what, c.have, c.add, c.limit}
		}
	}
	return nil
}

func useOf(ctx context.Context, q querier, owner, but string) (Usage, error) {
	scan := func(rows *sql.Rows, u *Usage) error {
		return rows.Scan(&u.Plays, &u.StoredPlays, &u.PoolBytes, &u.Playgrounds)
	}
	return one(collect(ctx, q, "count use", scan, `SELECT
		COALESCE(SUM(CASE WHEN goal = 'running' THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN persistent <> 0 OR goal = 'stopped' THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(disk_bytes), 0) + (SELECT COALESCE(SUM(bytes), 0) FROM saved_drives WHERE owner = ?),
		(SELECT COUNT(*) FROM playgrounds WHERE owner = ?)
		FROM plays WHERE owner = ? AND goal IN ('running', 'stopped') AND id <> ?`, owner, owner, owner, but))
}
