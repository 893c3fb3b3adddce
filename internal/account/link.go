package account

import (
	"context"
	"errors"
	"time"

	"sandlot/api"
	"sandlot/internal/store"
)

// Kinds of links, and how long each is good.
const (
	LinkFirst    = "first"    // makes the first administrator
	LinkInvite   = "invite"   // makes an account
	LinkPassword = "password" // sets an account's password
	LinkSignin   = "signin"   // signs a browser in
)

var linkLife = map[string]time.Duration{
	LinkFirst: 24 * time.Hour, LinkInvite: 7 * 24 * time.Hour, LinkPassword: 24 * time.Hour, LinkSignin: 5 * time.Minute,
}

// LifeOf tells how long a kind of links is good.
func LifeOf(kind string) time.Duration { return linkLife[kind] }

func (a *Accounts) link(ctx context.Context, l store.Link, replace bool) (token string, err error) {
	if token, err = a.secret(); err != nil {
		return "", err
	}
	l.TokenHash, l.CreatedAt = hash(token), a.Now()
	l.ExpiresAt = l.CreatedAt.Add(linkLife[l.Kind])
	return token, a.store.AddLink(ctx, l, replace)
}

// First makes the link of the first administrator, in the place of earlier
// ones; "" if somebody can sign in already.
func (a *Accounts) First(ctx context.Context) (token string, err error) {
	if settled, err := a.store.Settled(ctx); err != nil || settled {
		return "", err
	}
	return a.link(ctx, store.Link{Kind: LinkFirst, UserID: AdminID, Name: AdminID, Role: store.RoleAdministrator}, true)
}

// Invite makes a link with which somebody makes an account.
func (a *Accounts) Invite(ctx context.Context, role string) (token string, err error) {
	return a.link(ctx, store.Link{Kind: LinkInvite, Role: role}, false)
}

// PasswordLink makes a link with which a user sets a new password.
func (a *Accounts) PasswordLink(ctx context.Context, name string) (token string, err error) {
	u, err := a.named(ctx, name)
	if err != nil {
		return "", err
	}
	return a.link(ctx, store.Link{Kind: LinkPassword, UserID: u.ID, Name: u.Name, Role: u.Role}, true)
}

// SigninLink makes a link that signs a browser in as the user.
func (a *Accounts) SigninLink(ctx context.Context, user api.Me) (token string, err error) {
	return a.link(ctx, store.Link{Kind: LinkSignin, UserID: user.ID, Name: user.Name}, true)
}

// Join finds a link for an account's password.
func (a *Accounts) Join(ctx context.Context, token string) (api.Join, error) {
	l, err := a.find(ctx, token, LinkFirst, LinkInvite, LinkPassword)
	return api.Join{Kind: l.Kind, Name: l.Name, Role: l.Role, Fixed: l.Kind == LinkPassword}, err
}

func (a *Accounts) find(ctx context.Context, token string, kinds ...string) (store.Link, error) {
	l, err := a.store.Link(ctx, hash(token))
	if errors.Is(err, store.ErrNotFound) {
		return l, errSpent
	}
	if err != nil {
		return l, err
	}
	if !a.Now().Before(l.ExpiresAt) {
		return l, errSpent
	}
	if l.Kind == LinkFirst {
		if settled, err := a.store.Settled(ctx); err != nil || settled {
			return l, errors.Join(err, errSpent)
		}
	}
	for _, kind := range kinds {
		if l.Kind == kind {
			return l, nil
		}
	}
	return l, errSpent
}

// Accept uses a link up: the account gets this password, and a browser
// session.
func (a *Accounts) Accept(ctx context.Context, token, name, password string, from api.Origin) (cookie string, who api.Me, err error) {
	l, err := a.find(ctx, token, LinkFirst, LinkInvite, LinkPassword)
	if err != nil {
		return "", who, err
	}
	if l.Kind == LinkPassword {
		name = l.Name
	}
	if err := checkName(name); err != nil {
		return "", who, err
	}
	hashed, err := a.hashPassword(ctx, name, password)
	if err != nil {
		return "", who, err
	}
	// Before the link is used up: a name can be chosen again.
	if other, err := a.store.UserByName(ctx, name); err == nil && other.ID != l.UserID {
		return "", who, taken(name, store.ErrExists)
	}
	if err := a.store.TakeLink(ctx, l.TokenHash); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = errSpent
		}
		return "", who, err
	}
	id := l.UserID
	if l.Kind == LinkInvite {
		id = name
		err = a.store.AddUser(ctx, store.User{ID: id, Name: name, PasswordHash: hashed, Role: l.Role, CreatedAt: a.Now()})
	} else {
		_, err = a.store.SetPassword(ctx, id, name, hashed, "")
	}
	if err := taken(name, err); err != nil {
		return "", who, err
	}
	if who, err = a.user(ctx, id); err != nil {
		return "", who, err
	}
	cookie, err = a.newBrowserSession(ctx, id, from)
	return cookie, who, err
}

// UseSignin signs a browser in, once.
func (a *Accounts) UseSignin(ctx context.Context, token string, from api.Origin) (cookie string, who api.Me, err error) {
	l, err := a.find(ctx, token, LinkSignin)
	if err != nil {
		return "", who, err
	}
	if err := a.store.TakeLink(ctx, l.TokenHash); err != nil {
		return "", who, errSpent
	}
	if who, err = a.user(ctx, l.UserID); err != nil {
		return "", who, err
	}
	cookie, err = a.newBrowserSession(ctx, who.ID, from)
	return cookie, who, err
}
