package account

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"sandlot/api"
	"sandlot/internal/store"
)

var errCredentials = api.Errorf(api.Unauthenticated, "sign in first: these credentials are not valid")

// Authenticate returns the user behind a CLI session.
func (a *Accounts) Authenticate(ctx context.Context, sessionID, token string) (api.Me, error) {
	return a.bySession(ctx, store.SessionCLI, sessionID, token)
}

// ByCookie returns the user behind a browser session.
func (a *Accounts) ByCookie(ctx context.Context, cookie string) (api.Me, error) {
	id, token, _ := strings.Cut(cookie, ".")
	return a.bySession(ctx, store.SessionBrowser, id, token)
}

func (a *Accounts) bySession(ctx context.Context, kind, id, token string) (api.Me, error) {
	s, u, err := a.store.SessionUser(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return api.Me{}, errCredentials
	}
	if err != nil {
		return api.Me{}, err
	}
	if !matches(token, s.TokenHash) || s.Kind != kind || !s.ExpiresAt.IsZero() && !a.Now().Before(s.ExpiresAt) || u.Disabled {
		return api.Me{}, errCredentials
	}
	return me(u), nil
}

func (a *Accounts) newBrowserSession(ctx context.Context, user string, from api.Origin) (cookie string, err error) {
	c, err := makeCredentials(a.Random)
	if err != nil {
		return "", err
	}
	now := a.Now()
	return c.SessionID + "." + c.AccessToken, a.store.PutSession(ctx, store.Session{
		ID: c.SessionID, UserID: user, TokenHash: hash(c.AccessToken), Kind: store.SessionBrowser,
		About: about(from), CreatedAt: now, ExpiresAt: now.Add(browserLife),
	})
}

// SignOut ends the session of a cookie.
func (a *Accounts) SignOut(ctx context.Context, cookie string) error {
	if _, err := a.ByCookie(ctx, cookie); err != nil {
		return nil // not valid: nothing to end
	}
	id, _, _ := strings.Cut(cookie, ".")
	return a.store.DeleteSession(ctx, id)
}

// EndSession forgets a session of the user; one that is gone, or another's, is
// left alone without an error.
func (a *Accounts) EndSession(ctx context.Context, user api.Me, sessionID string) error {
	s, err := a.store.Session(ctx, sessionID)
	if errors.Is(err, store.ErrNotFound) || err == nil && s.UserID != user.ID {
		return nil
	}
	if err != nil {
		return err
	}
	return a.store.DeleteSession(ctx, sessionID)
}

// maxPending bounds the logins that nobody has confirmed.
const maxPending = 1000

// NewSession makes a session that somebody has to confirm at a page with this
// code.
func (a *Accounts) NewSession(ctx context.Context, from api.Origin) (s api.Session, code string, err error) {
	now := a.Now()
	if err := a.limits.login(from.Address, now); err != nil {
		return s, "", err
	}
	c, err := makeCredentials(a.Random)
	if err != nil {
		return s, "", err
	}
	if code, err = a.secret(); err != nil {
		return s, "", err
	}
	err = a.store.AddLoginRequest(ctx, store.LoginRequest{
		ID: c.SessionID, TokenHash: hash(c.AccessToken), CodeHash: hash(code), About: about(from),
		CreatedAt: now, ExpiresAt: now.Add(loginLife),
	}, maxPending)
	if errors.Is(err, store.ErrExists) {
		e := api.Errorf(api.TooMany, "too many logins are waiting for their confirmation: try again in some minutes")
		e.RetryAfter = loginLife
		err = e
	}
	return api.Session{ID: c.SessionID, AccessToken: c.AccessToken}, code, err
}

// NewUserSession makes a session that is confirmed already.
func (a *Accounts) NewUserSession(ctx context.Context, user api.Me, from api.Origin) (api.Session, error) {
	c, err := makeCredentials(a.Random)
	if err != nil {
		return api.Session{}, err
	}
	now := a.Now()
	return api.Session{ID: c.SessionID, AccessToken: c.AccessToken, UserID: user.ID, Authenticated: true},
		a.store.PutSession(ctx, store.Session{
			ID: c.SessionID, UserID: user.ID, TokenHash: hash(c.AccessToken), Kind: store.SessionCLI,
			About: about(from), CreatedAt: now, ExpiresAt: now.Add(cliLife),
		})
}

// PollSession returns a session, pending or not, to whoever has its token.
func (a *Accounts) PollSession(ctx context.Context, sessionID, token string) (api.Session, error) {
	r, err := a.store.LoginRequest(ctx, sessionID)
	if err == nil && matches(token, r.TokenHash) && a.Now().Before(r.ExpiresAt) {
		return api.Session{ID: sessionID}, nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return api.Session{}, err
	}
	who, err := a.Authenticate(ctx, sessionID, token)
	return api.Session{ID: sessionID, UserID: who.ID, Authenticated: err == nil}, err
}

// Pending finds a login by its page's code.
func (a *Accounts) Pending(ctx context.Context, code string) (api.PendingLogin, error) {
	r, err := a.pending(ctx, code)
	return api.PendingLogin{ID: r.ID, About: r.About, At: api.Time(r.CreatedAt)}, err
}

func (a *Accounts) pending(ctx context.Context, code string) (store.LoginRequest, error) {
	r, err := a.store.LoginRequestByCode(ctx, hash(code))
	if errors.Is(err, store.ErrNotFound) || err == nil && !a.Now().Before(r.ExpiresAt) {
		return r, errSpent
	}
	return r, err
}

var errSpent = api.Errorf(api.Gone, "this link was used already, or has expired: ask for a new one")

// Confirm gives a pending session to the user.
func (a *Accounts) Confirm(ctx context.Context, user api.Me, code string) error {
	r, err := a.pending(ctx, code)
	if err != nil {
		return err
	}
	now := a.Now()
	err = a.store.ConfirmLogin(ctx, store.Session{
		ID: r.ID, UserID: user.ID, TokenHash: r.TokenHash, Kind: store.SessionCLI, About: r.About,
		CreatedAt: now, ExpiresAt: now.Add(cliLife),
	})
	if errors.Is(err, store.ErrNotFound) {
		return errSpent
	}
	return err
}

// Deny drops a pending session.
func (a *Accounts) Deny(ctx context.Context, code string) error {
	r, err := a.pending(ctx, code)
	if err != nil {
		return err
	}
	return a.store.DropLogin(ctx, r.ID)
}

// SignInIdentity makes a browser session for somebody whom a provider knows,
// with an account made at the first time. An existing account is never taken
// over by a name alone.
func (a *Accounts) SignInIdentity(ctx context.Context, i api.Identity, from api.Origin) (cookie string, who api.Me, err error) {
	u, err := a.store.UserByIdentity(ctx, i.Issuer, i.Subject)
	if errors.Is(err, store.ErrNotFound) {
		u, err = a.adopt(ctx, i)
	}
	if err != nil {
		return "", who, err
	}
	if u.Disabled {
		return "", who, errLocked
	}
	if err := a.store.PutIdentity(ctx, i.Issuer, i.Subject, u.ID, i.Email); err != nil { // it may have changed there
		return "", who, err
	}
	cookie, err = a.newBrowserSession(ctx, u.ID, from)
	return cookie, me(u), err
}

var errLocked = api.Errorf(api.Forbidden, "this account is disabled: ask an administrator")

func (a *Accounts) adopt(ctx context.Context, i api.Identity) (store.User, error) {
	wish := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return -1
	}, strings.ToLower(i.Name))
	if wish = strings.TrimLeft(wish[:min(len(wish), 24)], "._-"); wish == "" {
		wish = "user"
	}
	for name := wish; ; {
		u := store.User{ID: name, Name: name, Role: store.RoleUser, CreatedAt: a.Now()}
		err := a.store.AddUser(ctx, u)
		if err == nil {
			return u, a.store.PutIdentity(ctx, i.Issuer, i.Subject, u.ID, i.Email)
		}
		if !errors.Is(err, store.ErrExists) {
			return u, err
		}
		var suffix [3]byte
		if _, err := io.ReadFull(a.Random, suffix[:]); err != nil {
			return u, fmt.Errorf("cannot name user %q: %w", wish, err)
		}
		name = wish + "-" + hex.EncodeToString(suffix[:])
	}
}
