package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxSeen bounds the sessions that are kept.
	maxSeen = 10_000
	// lookEvery is how often at most the database is asked whether anybody has
	// written to it.
	lookEvery = time.Millisecond
)

// seen are sessions as they were last read, and good until the database is
// written to, by whomever: labd's commands write there beside labd.
type seen struct {
	mu sync.Mutex
	// conn is one connection: the number it tells changes with every commit of
	// any other.
	conn    *sql.Conn
	version int64
	// looked is when it was asked; wrote is set by what this process has
	// written since.
	looked   time.Time
	wrote    atomic.Bool
	sessions map[string]owned
}

// owned is a session and its user.
type owned struct {
	session Session
	user    User
}

// look forgets everything if the database was written to.
func (k *seen) look(ctx context.Context, db *sql.DB) error {
	if time.Since(k.looked) < lookEvery && k.conn != nil && !k.wrote.Load() {
		return nil
	}
	k.wrote.Store(false) // first: what is written from now on may not be seen
	if k.conn == nil {
		conn, err := db.Conn(context.WithoutCancel(ctx))
		if err != nil {
			return fmt.Errorf("cannot read state: %w", err)
		}
		k.conn = conn
	}
	now := time.Now()
	var version int64
	// Not ctx: a request that is given up must not cost the connection.
	if err := k.conn.QueryRowContext(context.WithoutCancel(ctx), `PRAGMA data_version`).Scan(&version); err != nil {
		_ = k.conn.Close()
		k.conn = nil
		return fmt.Errorf("cannot read state: %w", err)
	}
	k.looked = now
	if version != k.version || k.sessions == nil || len(k.sessions) >= maxSeen {
		k.version, k.sessions = version, make(map[string]owned)
	}
	return nil
}

func (k *seen) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		return nil
	}
	err := k.conn.Close()
	k.conn = nil
	return err
}

// SessionUser returns a session and its user, or ErrNotFound. Every request
// asks for them.
func (s *Store) SessionUser(ctx context.Context, id string) (Session, User, error) {
	s.seen.mu.Lock()
	err := s.seen.look(ctx, s.read.DB)
	found, ok := s.seen.sessions[id]
	version := s.seen.version
	s.seen.mu.Unlock()
	if err != nil {
		return Session{}, User{}, err
	}
	if ok {
		return found.session, found.user, nil
	}
	found, err = one(collect(ctx, s.read, "read session", scanOwned, `SELECT s.id, s.user_id, s.token_hash, s.kind, s.about, s.created_at, s.expires_at,
		u.id, u.name, u.password_hash, u.role, u.disabled, u.region, u.plan, u.display_name, u.created_at
		FROM sessions AS s JOIN users AS u ON u.id = s.user_id WHERE s.id = ?`, id))
	if err != nil {
		return Session{}, User{}, err
	}
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	if s.seen.version == version && s.seen.sessions != nil {
		s.seen.sessions[id] = found
	}
	return found.session, found.user, nil
}

func scanOwned(rows *sql.Rows, o *owned) error {
	var made, ends, joined string
	var disabled int
	c, u := &o.session, &o.user
	err := rows.Scan(&c.ID, &c.UserID, &c.TokenHash, &c.Kind, &c.About, &made, &ends,
		&u.ID, &u.Name, &u.PasswordHash, &u.Role, &disabled, &u.Region, &u.Plan, &u.DisplayName, &joined)
	c.CreatedAt, c.ExpiresAt, u.Disabled, u.CreatedAt = parseTime(made), parseTime(ends), disabled != 0, parseTime(joined)
	return err
}
