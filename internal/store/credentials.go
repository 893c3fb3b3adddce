package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// LoginRequest is a session of the CLI that nobody has confirmed yet.
type LoginRequest struct {
	ID        string // of the session to be
	TokenHash string
	CodeHash  string // of the code in the confirmation page's address
	About     string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Link is an address that is good once.
type Link struct {
	TokenHash string
	Kind      string
	UserID    string // whom it is for; "" for somebody new
	Name      string // proposed to somebody new
	Role      string // given to somebody new
	CreatedAt time.Time
	ExpiresAt time.Time
}

// AccessToken lets a program act for a user within scopes.
type AccessToken struct {
	ID        string
	UserID    string
	Name      string
	TokenHash string
	Scopes    []string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// AuditEntry is one line of who did what.
type AuditEntry struct {
	ID       string
	At       time.Time
	UserID   string
	UserName string
	Via      string // session, browser, token, single-user, link, provider, host
	Address  string
	Action   string
	Target   string
	Result   string // ok, or why not
}

func wrap(what string, err error) error {
	var over *OverLimit
	if err == nil || errors.Is(err, ErrExists) || errors.Is(err, ErrNotFound) || errors.As(err, &over) {
		return err
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}

// AddLoginRequest keeps a pending session, unless there are so many already:
// then ErrExists.
func (s *Store) AddLoginRequest(ctx context.Context, r LoginRequest, most int) error {
	return s.atomic(ctx, "save login", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM login_requests WHERE expires_at <= ?`, formatTime(r.CreatedAt)); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM login_requests`).Scan(&n); err != nil {
			return err
		}
		if n >= most {
			return ErrExists
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO login_requests (id, token_hash, code_hash, about, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?, ?)`, r.ID, r.TokenHash, r.CodeHash, r.About, formatTime(r.CreatedAt), formatTime(r.ExpiresAt))
		return err
	})
}

const loginColumns = `id, token_hash, code_hash, about, created_at, expires_at`

// LoginRequest returns a pending session, or ErrNotFound.
func (s *Store) LoginRequest(ctx context.Context, id string) (LoginRequest, error) {
	return one(collect(ctx, s.read, "read login", scanLogin, `SELECT `+loginColumns+` FROM login_requests WHERE id = ?`, id))
}

// LoginRequestByCode finds one by its page's address, or ErrNotFound.
func (s *Store) LoginRequestByCode(ctx context.Context, codeHash string) (LoginRequest, error) {
	return one(collect(ctx, s.read, "read login", scanLogin, `SELECT `+loginColumns+` FROM login_requests WHERE code_hash = ?`, codeHash))
}

func scanLogin(rows *sql.Rows, r *LoginRequest) error {
	var created, ends string
	err := rows.Scan(&r.ID, &r.TokenHash, &r.CodeHash, &r.About, &created, &ends)
	r.CreatedAt, r.ExpiresAt = parseTime(created), parseTime(ends)
	return err
}

// ConfirmLogin turns a pending session into the user's, once: ErrNotFound if
// it is not pending any more.
func (s *Store) ConfirmLogin(ctx context.Context, c Session) error {
	return s.atomic(ctx, "confirm login", func(tx *sql.Tx) error {
		if err := gone(tx.ExecContext(ctx, `DELETE FROM login_requests WHERE id = ?`, c.ID)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sessions (`+sessionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			c.ID, c.UserID, c.TokenHash, c.Kind, c.About, formatTime(c.CreatedAt), formatEnd(c.ExpiresAt))
		return err
	})
}

// DropLogin forgets a pending session.
func (s *Store) DropLogin(ctx context.Context, id string) error {
	return s.exec(ctx, "drop login", `DELETE FROM login_requests WHERE id = ?`, id)
}

// gone is ErrNotFound if a statement changed nothing.
func gone(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return ErrNotFound
}

// AddLink keeps a link; replace drops the others of its kind for its user.
func (s *Store) AddLink(ctx context.Context, l Link, replace bool) error {
	return s.atomic(ctx, "save link", func(tx *sql.Tx) error {
		if replace {
			if _, err := tx.ExecContext(ctx, `DELETE FROM links WHERE kind = ? AND user_id = ?`, l.Kind, l.UserID); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO links (token_hash, kind, user_id, name, role, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?, ?, ?)`, l.TokenHash, l.Kind, l.UserID, l.Name, l.Role, formatTime(l.CreatedAt), formatTime(l.ExpiresAt))
		return err
	})
}

// Link returns a link, or ErrNotFound.
func (s *Store) Link(ctx context.Context, tokenHash string) (Link, error) {
	scan := func(rows *sql.Rows, l *Link) error {
		var created, ends string
		err := rows.Scan(&l.TokenHash, &l.Kind, &l.UserID, &l.Name, &l.Role, &created, &ends)
		l.CreatedAt, l.ExpiresAt = parseTime(created), parseTime(ends)
		return err
	}
	return one(collect(ctx, s.db, "read link", scan,
		`SELECT token_hash, kind, user_id, name, role, created_at, expires_at FROM links WHERE token_hash = ?`, tokenHash))
}

// TakeLink uses a link up: ErrNotFound if somebody was faster.
func (s *Store) TakeLink(ctx context.Context, tokenHash string) error {
	return wrap("use link", gone(s.db.ExecContext(ctx, `DELETE FROM links WHERE token_hash = ?`, tokenHash)))
}

const tokenColumns = `id, user_id, name, token_hash, scopes, created_at, expires_at`

// AddAccessToken keeps a token, unless the user has so many already: then
// ErrExists.
func (s *Store) AddAccessToken(ctx context.Context, t AccessToken, most int) error {
	n, err := s.count(ctx, "save token", `INSERT INTO access_tokens (`+tokenColumns+`)
		SELECT ?, ?, ?, ?, ?, ?, ? WHERE (SELECT COUNT(*) FROM access_tokens WHERE user_id = ?) < ?`,
		t.ID, t.UserID, t.Name, t.TokenHash, strings.Join(t.Scopes, " "), formatTime(t.CreatedAt), formatTime(t.ExpiresAt), t.UserID, most)
	if err == nil && n == 0 {
		err = ErrExists
	}
	return err
}

// AccessToken finds a token by its hash, or ErrNotFound.
func (s *Store) AccessToken(ctx context.Context, tokenHash string) (AccessToken, error) {
	return one(collect(ctx, s.read, "read token", scanToken, `SELECT `+tokenColumns+` FROM access_tokens WHERE token_hash = ?`, tokenHash))
}

// AccessTokens returns a user's tokens, newest first.
func (s *Store) AccessTokens(ctx context.Context, user string) ([]AccessToken, error) {
	return collect(ctx, s.read, "list tokens", scanToken,
		`SELECT `+tokenColumns+` FROM access_tokens WHERE user_id = ? ORDER BY created_at DESC`, user)
}

func scanToken(rows *sql.Rows, t *AccessToken) error {
	var scopes, created, ends string
	err := rows.Scan(&t.ID, &t.UserID, &t.Name, &t.TokenHash, &scopes, &created, &ends)
	t.Scopes, t.CreatedAt, t.ExpiresAt = strings.Fields(scopes), parseTime(created), parseTime(ends)
	return err
}

// DeleteAccessToken ends a token of the user; ErrNotFound if they have none
// with this id.
func (s *Store) DeleteAccessToken(ctx context.Context, user, id string) error {
	return wrap("delete token", gone(s.db.ExecContext(ctx, `DELETE FROM access_tokens WHERE user_id = ? AND id = ?`, user, id)))
}

// DropExpired forgets credentials that ended before now, and what the audit
// log says of before since.
func (s *Store) DropExpired(ctx context.Context, now, since time.Time) error {
	at := formatTime(now)
	return s.atomic(ctx, "drop what has expired", func(tx *sql.Tx) error {
		for _, query := range []string{
			`DELETE FROM sessions WHERE expires_at <> '' AND expires_at <= ?`,
			`DELETE FROM login_requests WHERE expires_at <= ?`,
			`DELETE FROM links WHERE expires_at <= ?`,
			`DELETE FROM access_tokens WHERE expires_at <= ?`,
		} {
			if _, err := tx.ExecContext(ctx, query, at); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM audit WHERE at < ?`, formatTime(since))
		return err
	})
}

const auditColumns = `id, at, user_id, user_name, via, address, action, target, result`

// AddAudit writes one line.
func (s *Store) AddAudit(ctx context.Context, e AuditEntry) error {
	return s.exec(ctx, "write the audit log", `INSERT INTO audit (`+auditColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.ID, formatTime(e.At), e.UserID, e.UserName, e.Via, e.Address, e.Action, e.Target, e.Result)
}

// Audit returns the last lines, newest first.
func (s *Store) Audit(ctx context.Context, limit int) ([]AuditEntry, error) {
	scan := func(rows *sql.Rows, e *AuditEntry) error {
		var at string
		err := rows.Scan(&e.ID, &at, &e.UserID, &e.UserName, &e.Via, &e.Address, &e.Action, &e.Target, &e.Result)
		e.At = parseTime(at)
		return err
	}
	return collect(ctx, s.read, "read the audit log", scan,
		`SELECT `+auditColumns+` FROM audit ORDER BY at DESC, id DESC LIMIT ?`, limit)
}
