package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sandlot/internal/play"
)

// ErrFull is returned when a play may not have more rows of a kind.
var ErrFull = errors.New("there are as many as there may be")

// Kinds of Exposed.
const (
	ExposedPort  = "port"
	ExposedShell = "shell"
)

// Exposed is a port or a shell of a play that others may reach by its id.
type Exposed struct {
	ID                       string
	Play                     play.ID
	Kind                     string
	Machine                  string
	Number                   int    // of a port
	User                     string // of a shell
	Access                   string // private or public
	TLS                      bool   // the application speaks HTTPS
	HostRewrite, PathRewrite string
	CreatedAt                time.Time
}

const exposedColumns = `id, play_id, kind, machine, number, user_name, access, tls, host_rewrite, path_rewrite, created_at`

// AddExposed creates the row unless the play has limit of both kinds: ErrFull.
// Counting and writing are one statement.
func (s *Store) AddExposed(ctx context.Context, e Exposed, limit int) error {
	tls := 0
	if e.TLS {
		tls = 1
	}
	n, err := s.count(ctx, "save what is exposed", `INSERT INTO exposed (`+exposedColumns+`)
		SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE (SELECT COUNT(*) FROM exposed WHERE play_id = ?) < ?`,
		e.ID, e.Play, e.Kind, e.Machine, e.Number, e.User, e.Access, tls, e.HostRewrite, e.PathRewrite, formatTime(e.CreatedAt), e.Play, limit)
	if err == nil && n == 0 {
		err = ErrFull
	}
	return err
}

// Exposed returns one by id, or ErrNotFound.
func (s *Store) Exposed(ctx context.Context, id string) (Exposed, error) {
	return one(collect(ctx, s.read, "read what is exposed", scanExposed, `SELECT `+exposedColumns+` FROM exposed WHERE id = ?`, id))
}

// ExposedOf returns what a play exposes of one kind, oldest first.
func (s *Store) ExposedOf(ctx context.Context, id play.ID, kind string) ([]Exposed, error) {
	return collect(ctx, s.read, "list what is exposed", scanExposed,
		`SELECT `+exposedColumns+` FROM exposed WHERE play_id = ? AND kind = ? ORDER BY created_at, id`, id, kind)
}

// DeleteExposed forgets one of a play's kind; ErrNotFound if it has none.
func (s *Store) DeleteExposed(ctx context.Context, id play.ID, kind, exposed string) error {
	n, err := s.count(ctx, "delete what is exposed", `DELETE FROM exposed WHERE play_id = ? AND kind = ? AND id = ?`, id, kind, exposed)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

func scanExposed(rows *sql.Rows, e *Exposed) error {
	var tls int
	var at string
	err := rows.Scan(&e.ID, &e.Play, &e.Kind, &e.Machine, &e.Number, &e.User, &e.Access, &tls, &e.HostRewrite, &e.PathRewrite, &at)
	e.TLS, e.CreatedAt = tls != 0, parseTime(at)
	return err
}

// PortForwards returns the saved forwards of a play as JSON, in order; begun
// is false while none were ever written.
func (s *Store) PortForwards(ctx context.Context, id play.ID) (records [][]byte, begun bool, err error) {
	scan := func(rows *sql.Rows, n *int) error { return rows.Scan(n) }
	n, err := one(collect(ctx, s.read, "list port forwards", scan, `SELECT COUNT(*) FROM port_forwards_begun WHERE play_id = ?`, id))
	if err != nil || n == 0 {
		return nil, false, err
	}
	record := func(rows *sql.Rows, b *[]byte) error { return rows.Scan(b) }
	records, err = collect(ctx, s.read, "list port forwards", record, `SELECT record FROM port_forwards WHERE play_id = ? ORDER BY position`, id)
	return records, true, err
}

// PutPortForwards replaces a play's whole list.
func (s *Store) PutPortForwards(ctx context.Context, id play.ID, records [][]byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot save port forwards: %w", err)
		}
	}()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `INSERT INTO port_forwards_begun (play_id) VALUES (?) ON CONFLICT (play_id) DO NOTHING`, id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM port_forwards WHERE play_id = ?`, id); err != nil {
		return err
	}
	for i, record := range records {
		if _, err := tx.ExecContext(ctx, `INSERT INTO port_forwards (play_id, position, record) VALUES (?, ?, ?)`, id, i, string(record)); err != nil {
			return err
		}
	}
	return tx.Commit()
}
