package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/play"
	"sandlot/internal/store"
)

// The time of a play:
//
//	start, restart ─▶ runs until EndsAt ─▶ stopped, if it is persistent
//	                    ▲        │         └▶ destroyed, if not
//	                    └────────┘ more time, up to the plan
//
// While it is stopped it has no end. EndsAt is a point in time, so what passes
// while no labd runs counts, too.

// warning is how long before its end people are told.
const warning = 5 * time.Minute

// begin gives a play that is about to run its time: what it was given before,
// if the plan still allows that, else the plan's.
func begin(p *store.Play, b Budget, now time.Time) {
	total := lower(time.Duration(p.MaxPlayMinutes)*time.Minute, b.LongestPlayTime)
	if p.MaxPlayMinutes == 0 {
		total = b.firstTime()
	}
	p.StartedAt = now
	last(p, total)
}

// last sets how long a play may run in all; 0 is for ever.
func last(p *store.Play, total time.Duration) {
	p.MaxPlayMinutes, p.EndsAt, p.WarnedAt = int(total/time.Minute), time.Time{}, time.Time{}
	if total > 0 && p.Goal == store.GoalRunning {
		p.EndsAt = p.StartedAt.Add(total)
	}
}

// rest stops the clock of a play.
func rest(p *store.Play) { p.Goal, p.EndsAt, p.WarnedAt = store.GoalStopped, time.Time{}, time.Time{} }

// end is rest for ever.
func end(p *store.Play) {
	rest(p)
	p.Goal = store.GoalEnded
}

// MakePersistent lets the play be stopped when its time is up, and not
// destroyed.
func (c *Control) MakePersistent(ctx context.Context, user api.Me, id play.ID) (api.Play, error) {
	return c.act(ctx, user, id, "keep", func(p *store.Play, _ Budget) { p.Persistent = true }, nothing)
}

// SetMaxPlayTime sets how long the play may run, counted from its last start.
func (c *Control) SetMaxPlayTime(ctx context.Context, user api.Me, id play.ID, total time.Duration) (api.Play, error) {
	row, err := c.row(ctx, user, id)
	if err != nil {
		return api.Play{}, err
	}
	a, err := c.allowance(ctx, row.Owner)
	if err != nil {
		return api.Play{}, err
	}
	if a.LongestPlayTime > 0 && total > a.LongestPlayTime {
		return api.Play{}, api.Errorf(api.Invalid, "cannot let the play run for %s: your plan %q allows %s from its start", total, a.plan, a.LongestPlayTime)
	}
	warned := false
	p, err := c.act(ctx, user, id, "extend", func(p *store.Play, _ Budget) {
		warned = !p.WarnedAt.IsZero()
		last(p, total)
	}, nothing)
	if err == nil && warned && p.ExpiresIn > 0 {
		// Else the warning would be the last that is said.
		c.announce(ctx, id, "it runs until "+clock(c.opts.Now().Add(time.Duration(p.ExpiresIn)*time.Millisecond))+" now")
	}
	return p, err
}

func clock(t time.Time) string { return t.UTC().Format("15:04 MST") }

// announce tells everybody in a play something; that it cannot is no failure.
func (c *Control) announce(ctx context.Context, id play.ID, message string) {
	if err := c.opts.Bender.Announce(ctx, id, message); err != nil && !errors.Is(err, bender.ErrUnknown) {
		c.opts.Log.WarnContext(ctx, "cannot announce", "play", id, "error", err)
	}
}

// Expire ends plays whose time is up, warns of ends that are near, and forgets
// plays that ended long ago. Call it at the start and every few seconds.
func (c *Control) Expire(ctx context.Context) error {
	now := c.opts.Now()
	rows, err := c.opts.Store.PlaysEnding(ctx, now.Add(warning))
	errs := []error{err}
	for _, row := range rows {
		errs = append(errs, c.expire(ctx, row, now))
	}
	return errors.Join(append(errs, c.releaseSaved(ctx), c.opts.Store.ForgetPlays(ctx, now.Add(-keepRows)))...)
}

func (c *Control) expire(ctx context.Context, row store.Play, now time.Time) error {
	over := false
	after, err := c.opts.Store.ChangePlay(ctx, row.ID, store.Limits{}, func(p *store.Play) {
		switch over = false; {
		case p.Goal != store.GoalRunning || !p.EndsAt.Equal(row.EndsAt):
			// Somebody was faster.
		case now.Before(p.EndsAt):
			p.WarnedAt = p.EndsAt
		case p.Persistent:
			over = true
			rest(p)
		default:
			over = true
			end(p)
		}
		if over {
			p.UpdatedAt = now
		}
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case !over:
		if after.WarnedAt.Equal(row.EndsAt) && !row.WarnedAt.Equal(row.EndsAt) {
			then := "is destroyed then; keep it with: labctl playground persist " + string(row.ID)
			if after.Persistent {
				then = "is stopped then, and keeps its disks"
			}
			c.announce(ctx, row.ID, fmt.Sprintf("its time is up at %s: it %s; for more time: labctl playground lifetime %s DURATION", clock(row.EndsAt), then, row.ID))
		}
		return nil
	case after.Goal == store.GoalStopped:
		err = c.opts.Bender.Stop(ctx, row.ID)
	default:
		err = c.opts.Bender.Destroy(ctx, row.ID)
	}
	if errors.Is(err, bender.ErrUnknown) {
		return nil
	}
	if err != nil {
		err = errors.Join(err, c.follow(ctx, after))
	}
	return err
}

// follow makes what counts agree with bender's goal: after it refused, and
// after a labd that was killed between writing the one and the other.
func (c *Control) follow(ctx context.Context, row store.Play) error {
	goal, disks := store.GoalEnded, row.DiskBytes
	record, err := c.opts.Bender.Status(row.ID)
	switch {
	case errors.Is(err, bender.ErrUnknown):
	case err != nil:
		return err
	case record.Goal == bender.GoalStopped && !record.Again:
		goal, disks = store.GoalStopped, diskBytes(&record.Plan)
	case record.Goal != bender.GoalDestroyed:
		goal, disks = store.GoalRunning, diskBytes(&record.Plan)
	}
	agree := func(p *store.Play) {
		p.DiskBytes = disks
		if goal != store.GoalRunning {
			rest(p)
		}
		// Rows of older versions have no end either.
		if p.Goal = goal; goal == store.GoalRunning && p.EndsAt.IsZero() {
			last(p, time.Duration(p.MaxPlayMinutes)*time.Minute)
		}
	}
	next := row
	if agree(&next); next == row {
		return nil
	}
	_, err = c.opts.Store.ChangePlay(ctx, row.ID, store.Limits{}, agree)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// Recover makes what counts agree with bender after it has recovered, and
// removes saved drives that nobody needs. Call it once, before any request is answered.
func (c *Control) Recover(ctx context.Context) error {
	rows, err := c.opts.Store.Plays(ctx)
	errs := []error{err}
	for _, row := range rows {
		errs = append(errs, c.follow(ctx, row))
	}
	return errors.Join(append(errs, c.Expire(ctx), c.sweepSaved(ctx))...)
}
