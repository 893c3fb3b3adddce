package account

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"

	"sandlot/api"
	"sandlot/internal/store"
)

// passwordCost is OWASP's first choice with little memory: labd's host needs
// its memory for machines.
var passwordCost = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// hashing bounds how many passwords are looked at together: each takes 19 MiB.
var hashing = make(chan struct{}, 4)

// Bounds of a password: in characters and in bytes.
const (
	minPassword = 10
	maxPassword = 256
)

// nobody is what the password of an account that does not exist is compared
// with, so that the answer takes as long.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func (a *Accounts) hashPassword(ctx context.Context, name, password string) (string, error) {
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return "", api.Errorf(api.Invalid, "this password is too short: take at least %d characters", minPassword)
	case len(password) > maxPassword:
		return "", api.Errorf(api.Invalid, "this password is too long: take at most %d bytes", maxPassword)
	case strings.EqualFold(password, name):
		return "", api.Errorf(api.Invalid, "this password is the name: choose another")
	}
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return argon2id.CreateHash(password, passwordCost)
}

func checkPassword(ctx context.Context, password, hashed string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return argon2id.ComparePasswordAndHash(password, hashed)
}

var errPassword = api.Errorf(api.Unauthenticated, "this name and password do not open an account")

func about(o api.Origin) string { return printable(o.About, 120) + " from " + printable(o.Address, 64) }

// SignIn makes a browser session from a name and a password. Wrong ones, and
// accounts that are locked out or have no password, are told alike; so are
// their times. The account, if there is one, is returned for the audit log.
func (a *Accounts) SignIn(ctx context.Context, name, password string, from api.Origin) (cookie string, who api.Me, err error) {
	if err := a.limits.guess(name, from.Address, a.Now()); err != nil {
		return "", who, err
	}
	u, err := a.store.UserByName(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", who, err
	}
	hashed := u.PasswordHash
	if err != nil || u.Disabled || hashed == "" {
		hashed = nobody
	}
	ok, err := checkPassword(ctx, password, hashed)
	if err != nil {
		return "", who, err
	}
	if !ok || hashed == nobody {
		return "", me(u), errPassword
	}
	a.limits.right(name)
	cookie, err = a.newBrowserSession(ctx, u.ID, from)
	return cookie, me(u), err
}
