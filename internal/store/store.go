// Package store keeps labd's truth in SQL: users, sessions, plays, and
// bender's records and step journal. In go and out come plain values; no
// decision is made here. Every write is durable when it returns
// (WAL with synchronous=FULL).
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver named in Open
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNotFound is returned when no row has the wanted key.
var ErrNotFound = errors.New("not found")

// Store is one open database; its methods may be called concurrently.
type Store struct {
	db *sql.DB // the one writer
	// read never writes: with WAL it waits for nobody.
	read  reader
	lists *playLists
	seen  seen
}

// reader is a database whose queries are parsed once: parsing one takes longer
// than answering most.
type reader struct {
	*sql.DB
	parsed *sync.Map // query to *sql.Stmt
}

func (r reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, ok := r.parsed.Load(query)
	if !ok {
		made, err := r.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		if stmt, ok = r.parsed.LoadOrStore(query, made); ok {
			_ = made.Close()
		}
	}
	return stmt.(*sql.Stmt).QueryContext(ctx, args...)
}

// readers is how many queries run at a time: more than there are processors
// only take memory. One looks for writes of others.
const readers = 5

// Open opens the SQLite file at path, creating it with mode 0600, and brings
// its schema up to date.
func Open(ctx context.Context, path string) (*Store, error) {
	// SQLite gives its other files the mode of this one.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = errors.Join(f.Chmod(0o600), f.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open state: %w", err)
	}
	dsn := "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
		"&_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("cannot open state %q: %w", path, err)
	}
	// SQLite has one writer; more connections only wait for each other.
	db.SetMaxOpenConns(1)
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	// Migrations made side by side land in any order.
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithAllowOutofOrder(true))
	if err != nil {
		return nil, fmt.Errorf("cannot read migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("cannot bring state %q up to date: %w", path, err)
	}
	read, err := sql.Open("sqlite", "file:"+path+"?_pragma=query_only(1)&_pragma=busy_timeout(10000)")
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("cannot open state %q: %w", path, err)
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return &Store{db: db, read: reader{read, new(sync.Map)}, lists: newPlayLists()}, nil
}

// Check tells whether the database answers.
func (s *Store) Check(ctx context.Context) error {
	var one int
	if err := s.db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("cannot read state: %w", err)
	}
	return nil
}

// Close closes the database.
func (s *Store) Close() error {
	return errors.Join(s.seen.close(), s.read.Close(), s.db.Close())
}

// timeFormat has a fixed width, so that text order is time order.
const timeFormat = "2006-01-02T15:04:05.000000000Z"

func formatTime(t time.Time) string { return t.UTC().Format(timeFormat) }

func scanText(rows *sql.Rows, text *string) error { return rows.Scan(text) }

func parseTime(s string) time.Time {
	t, _ := time.Parse(timeFormat, s)
	return t
}

func (s *Store) exec(ctx context.Context, what, query string, args ...any) error {
	defer s.seen.wrote.Store(true)
	if _, err := s.db.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	return nil
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// collect runs a query and scans each row with scan.
func collect[T any](ctx context.Context, db querier, what string, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot %s: %w", what, err)
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		var one T
		if err := scan(rows, &one); err != nil {
			return nil, fmt.Errorf("cannot %s: %w", what, err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot %s: %w", what, err)
	}
	return all, nil
}

// one returns the only value of a result, or ErrNotFound.
func one[T any](all []T, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	if len(all) == 0 {
		return none, ErrNotFound
	}
	return all[0], nil
}
