package account

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"sandlot/api"
	"sandlot/internal/store"
)

// Bounds of access tokens.
const (
	defaultDays = 90
	maxDays     = 365
	maxTokens   = 100 // of one user
)

// tokenPrefix tells people, and programs that look for lost secrets, what it
// is.
const tokenPrefix = "sandlot_"

// NewToken makes an access token, which is shown this once.
func (a *Accounts) NewToken(ctx context.Context, user api.Me, req api.CreateToken) (api.OAuthToken, error) {
	name := printable(req.Name, 100)
	scopes := slices.Clone(req.Scope)
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	days := req.ExpiresInDays
	if days == 0 {
		days = defaultDays
	}
	switch i := slices.IndexFunc(scopes, func(s string) bool { return !api.KnownScope(s) }); {
	case name == "":
		return api.OAuthToken{}, api.Errorf(api.Invalid, "this token has no name: write what it is for")
	case len(scopes) == 0:
		return api.OAuthToken{}, api.Errorf(api.Invalid, "this token has no scope: write some of %s", strings.Join(api.Scopes, ", "))
	case i >= 0:
		return api.OAuthToken{}, api.Errorf(api.Invalid, "there is no scope %q: write some of %s", scopes[i], strings.Join(api.Scopes, ", "))
	case days < 1 || days > maxDays:
		return api.OAuthToken{}, api.Errorf(api.Invalid, "expiresInDays is %d: want 1 to %d", days, maxDays)
	}
	secret, err := a.secret()
	if err != nil {
		return api.OAuthToken{}, err
	}
	var id [8]byte
	if _, err := io.ReadFull(a.Random, id[:]); err != nil {
		return api.OAuthToken{}, fmt.Errorf("cannot make a token: %w", err)
	}
	now := a.Now()
	t := store.AccessToken{
		ID: hex.EncodeToString(id[:]), UserID: user.ID, Name: name, TokenHash: hash(tokenPrefix + secret), Scopes: scopes,
		CreatedAt: now, ExpiresAt: now.Add(time.Duration(days) * 24 * time.Hour),
	}
	if err := a.store.AddAccessToken(ctx, t, maxTokens); errors.Is(err, store.ErrExists) {
		return api.OAuthToken{}, api.Errorf(api.Conflict, "you have %d tokens: revoke one with: labctl auth token revoke ID", maxTokens)
	} else if err != nil {
		return api.OAuthToken{}, err
	}
	wire := wireToken(t)
	wire.AccessToken = tokenPrefix + secret
	return wire, nil
}

func wireToken(t store.AccessToken) api.OAuthToken {
	return api.OAuthToken{
		ID: t.ID, Kind: "personal", Name: t.Name, Scope: t.Scopes,
		CreatedAt: api.Time(t.CreatedAt), ExpiresAt: api.Time(t.ExpiresAt),
	}
}

// ByToken returns the user behind an access token, and its scopes.
func (a *Accounts) ByToken(ctx context.Context, token string) (who api.Me, scopes []string, err error) {
	t, err := a.store.AccessToken(ctx, hash(token))
	if errors.Is(err, store.ErrNotFound) || err == nil && !a.Now().Before(t.ExpiresAt) {
		return who, nil, errCredentials
	}
	if err != nil {
		return who, nil, err
	}
	who, err = a.user(ctx, t.UserID)
	return who, t.Scopes, err
}

// Tokens lists the user's access tokens.
func (a *Accounts) Tokens(ctx context.Context, user api.Me) ([]api.OAuthToken, error) {
	rows, err := a.store.AccessTokens(ctx, user.ID)
	list := make([]api.OAuthToken, len(rows))
	for i, t := range rows {
		list[i] = wireToken(t)
	}
	return list, err
}

// RevokeToken ends one of the user's access tokens.
func (a *Accounts) RevokeToken(ctx context.Context, user api.Me, id string) error {
	err := a.store.DeleteAccessToken(ctx, user.ID, id)
	if errors.Is(err, store.ErrNotFound) {
		return api.Errorf(api.NotFound, "there is no token %q", id)
	}
	return err
}

// Record writes one line of who did what. Text from outside is cut and loses
// what could forge lines.
func (a *Accounts) Record(ctx context.Context, e api.AuditEntry) error {
	now := a.Now()
	var id [8]byte
	if _, err := io.ReadFull(a.Random, id[:]); err != nil {
		return fmt.Errorf("cannot write the audit log: %w", err)
	}
	return a.store.AddAudit(ctx, store.AuditEntry{
		ID: hex.EncodeToString(id[:]), At: now, UserID: e.UserID, UserName: printable(e.UserName, 64), Via: e.Via,
		Address: printable(e.Address, 64), Action: printable(e.Action, 100), Target: printable(e.Target, 200), Result: printable(e.Result, 200),
	})
}

// maxAudit bounds one reading of the audit log.
const maxAudit = 10_000

// Audit returns the last lines of the audit log, newest first.
func (a *Accounts) Audit(ctx context.Context, limit int) ([]api.AuditEntry, error) {
	if limit < 1 || limit > maxAudit {
		return nil, api.Errorf(api.Invalid, "limit is %d: want 1 to %d", limit, maxAudit)
	}
	rows, err := a.store.Audit(ctx, limit)
	list := make([]api.AuditEntry, len(rows))
	for i, e := range rows {
		list[i] = api.AuditEntry{
			At: api.Time(e.At), UserID: e.UserID, UserName: e.UserName, Via: e.Via,
			Address: e.Address, Action: e.Action, Target: e.Target, Result: e.Result,
		}
	}
	return list, err
}

// printable cuts text of others to a line of at most n characters.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(strings.TrimSpace(s)); len(r) > n {
		return string(r[:n])
	}
	return strings.TrimSpace(s)
}
