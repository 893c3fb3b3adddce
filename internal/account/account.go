// Package account knows people: who has an account, what signs them in, and
// who did what. In go names, passwords, tokens and links, out come signed-in
// users (api.Me) or refusals. Playgrounds and plays are none of its business;
// what a user may do with them is internal/control's.
//
//	link (first, invite) ──▶ account ──▶ password or provider ──▶ browser session
//	POST /sessions ──▶ pending ──▶ confirmed in a browser ──▶ CLI session
//	session ──▶ access token (scopes, at most a year)
//
// Every secret is 256 random bits and kept as its SHA-256; passwords are kept
// as argon2id.
package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sandlot/api"
	"sandlot/internal/store"
)

// AdminID is the account of whoever may read labd's data directory.
const AdminID = "admin"

// Lifetimes.
const (
	cliLife     = 90 * 24 * time.Hour
	browserLife = 14 * 24 * time.Hour
	// A page that confirms a login of the CLI is good as long as the client
	// waits for it.
	loginLife = 10 * time.Minute
)

// Accounts are the people of one labd. Use New; its methods may be called
// concurrently, also beside another process with the same store.
type Accounts struct {
	store  *store.Store
	limits *limits
	// Now and Random may be replaced before use.
	Now    func() time.Time
	Random io.Reader
}

// New returns the accounts in a store.
func New(s *store.Store) *Accounts {
	return &Accounts{store: s, limits: newLimits(), Now: time.Now, Random: rand.Reader}
}

// Credentials are one session's id and token.
type Credentials struct {
	SessionID   string `json:"sessionID"`
	AccessToken string `json:"accessToken"`
}

// EnsureAdmin makes the administrator's account and makes sure that these
// credentials open it; empty ones are made anew.
func EnsureAdmin(ctx context.Context, s *store.Store, have Credentials) (Credentials, error) {
	now := time.Now()
	err := s.AddUser(ctx, store.User{ID: AdminID, Name: AdminID, Role: store.RoleAdministrator, CreatedAt: now})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return have, err
	}
	if have.SessionID == "" || have.AccessToken == "" {
		if have, err = makeCredentials(rand.Reader); err != nil {
			return have, err
		}
	}
	return have, s.PutSession(ctx, store.Session{
		ID: have.SessionID, UserID: AdminID, TokenHash: hash(have.AccessToken), About: "labd credentials, on the host", CreatedAt: now,
	})
}

func makeCredentials(random io.Reader) (Credentials, error) {
	var b [48]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return Credentials{}, fmt.Errorf("cannot make credentials: %w", err)
	}
	return Credentials{SessionID: hex.EncodeToString(b[:16]), AccessToken: hex.EncodeToString(b[16:])}, nil
}

// secret is 256 random bits in characters that are safe in URLs and cookies.
func (a *Accounts) secret() (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(a.Random, b[:]); err != nil {
		return "", fmt.Errorf("cannot make a secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// matches compares in constant time.
func matches(secret, wantHash string) bool {
	return subtle.ConstantTimeCompare([]byte(hash(secret)), []byte(wantHash)) == 1
}

var names = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

func checkName(name string) error {
	if !names.MatchString(name) {
		return api.Errorf(api.Invalid, "cannot use name %q: write 1 to 32 of a-z, 0-9, dot, - and _, beginning with a letter or a digit", name)
	}
	return nil
}

func me(u store.User) api.Me {
	return api.Me{ID: u.ID, Name: u.Name, Role: u.Role, PreferredRegion: u.Region}
}

// user returns an account that may sign in; one that is locked out is refused
// as if its credentials were wrong.
func (a *Accounts) user(ctx context.Context, id string) (api.Me, error) {
	u, err := a.store.User(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && u.Disabled {
		return api.Me{}, errCredentials
	}
	return me(u), err
}

// named finds an account for a command of labd.
func (a *Accounts) named(ctx context.Context, name string) (store.User, error) {
	u, err := a.store.UserByName(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		err = api.Errorf(api.NotFound, "there is no user %q; labd user list shows all", name)
	}
	return u, err
}

// List returns every account by name.
func (a *Accounts) List(ctx context.Context) ([]store.User, error) { return a.store.Users(ctx) }

// Add makes an account that a password opens.
func (a *Accounts) Add(ctx context.Context, name, password, role string) (api.Me, error) {
	err := checkName(name)
	if err == nil && role != store.RoleUser && role != store.RoleAdministrator {
		err = api.Errorf(api.Invalid, "cannot use role %q: write %s or %s", role, store.RoleUser, store.RoleAdministrator)
	}
	if err != nil {
		return api.Me{}, err
	}
	hashed, err := a.hashPassword(ctx, name, password)
	if err != nil {
		return api.Me{}, err
	}
	u := store.User{ID: name, Name: name, PasswordHash: hashed, Role: role, CreatedAt: a.Now()}
	return me(u), taken(name, a.store.AddUser(ctx, u))
}

func taken(name string, err error) error {
	if errors.Is(err, store.ErrExists) {
		return api.Errorf(api.Conflict, "there is a user %q already: choose another name", name)
	}
	return err
}

// SetPassword gives an account a new password and ends its sessions and
// tokens.
func (a *Accounts) SetPassword(ctx context.Context, name, password string) error {
	u, err := a.named(ctx, name)
	if err != nil {
		return err
	}
	hashed, err := a.hashPassword(ctx, name, password)
	if err != nil {
		return err
	}
	_, err = a.store.SetPassword(ctx, u.ID, name, hashed, "")
	return err
}

// SetDisabled locks an account out, at once and everywhere, or lets it in
// again. Its plays and playgrounds stay.
func (a *Accounts) SetDisabled(ctx context.Context, name string, disabled bool) error {
	u, err := a.named(ctx, name)
	if err != nil {
		return err
	}
	return a.store.SetDisabled(ctx, u.ID, disabled)
}

// SetPlan gives an account a plan by its name, which internal/control knows; ""
// is the default one.
func (a *Accounts) SetPlan(ctx context.Context, name, plan string) error {
	u, err := a.named(ctx, name)
	if err != nil {
		return err
	}
	return a.store.SetPlan(ctx, u.ID, plan)
}

// Regions that users may prefer; this labd has one, and keeps the wish.
var regions = []string{"eu", "ap"}

// maxDisplayName bounds what users call themselves, in characters.
const maxDisplayName = 60

// SetPreferences changes what a user prefers: what is given of it.
func (a *Accounts) SetPreferences(ctx context.Context, user api.Me, p api.Preferences) (api.Me, error) {
	if (p.Region != "" || p.DisplayName == nil) && !slices.Contains(regions, p.Region) {
		return api.Me{}, api.Errorf(api.Invalid, "there is no region %q: write eu or ap", p.Region)
	}
	if p.DisplayName != nil {
		name := strings.TrimSpace(*p.DisplayName)
		if utf8.RuneCountInString(name) > maxDisplayName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return api.Me{}, api.Errorf(api.Invalid, "cannot use the name %.80q: write at most %d letters, figures, spaces and marks", name, maxDisplayName)
		}
		if err := a.store.SetDisplayName(ctx, user.ID, name); err != nil {
			return api.Me{}, err
		}
	}
	if p.Region != "" {
		if err := a.store.SetRegion(ctx, user.ID, p.Region); err != nil {
			return api.Me{}, err
		}
	}
	return a.user(ctx, user.ID)
}

// auditLife is how long the audit log is kept.
const auditLife = 180 * 24 * time.Hour

// Tidy forgets what has expired. Call it now and then.
func (a *Accounts) Tidy(ctx context.Context) error {
	now := a.Now()
	return a.store.DropExpired(ctx, now, now.Add(-auditLife))
}

// Local is the user of a labd without logins: the administrator.
func (a *Accounts) Local(ctx context.Context) (api.Me, error) { return a.user(ctx, AdminID) }
