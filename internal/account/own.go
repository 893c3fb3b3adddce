package account

import (
	"context"
	"strings"

	"sandlot/api"
	"sandlot/internal/store"
)

// Account is what a user sees of their own account.
func (a *Accounts) Account(ctx context.Context, user api.Me) (api.Account, error) {
	u, err := a.store.User(ctx, user.ID)
	if err != nil {
		return api.Account{}, err
	}
	list, err := a.Describe(ctx, u)
	if err != nil {
		return api.Account{}, err
	}
	return list[0], nil
}

// Describe tells of accounts what their users and administrators see, in the
// same order.
func (a *Accounts) Describe(ctx context.Context, users ...store.User) ([]api.Account, error) {
	providers, err := a.store.WithIdentity(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]api.Account, len(users))
	for i, u := range users {
		email, provider := providers[u.ID]
		list[i] = api.Account{
			ID: u.ID, Name: u.Name, DisplayName: u.DisplayName, Email: email, Role: u.Role, GivenPlan: u.Plan, Disabled: u.Disabled,
			Password: u.PasswordHash != "", Provider: provider, CreatedAt: api.Time(u.CreatedAt),
		}
	}
	return list, nil
}

// Sessions lists what the user is signed in by, the newest first, without what
// has expired. current is the id of the session that asks; it may be none.
func (a *Accounts) Sessions(ctx context.Context, user api.Me, current string) ([]api.AccountSession, error) {
	rows, err := a.store.SessionsOf(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	list := []api.AccountSession{}
	for _, s := range rows {
		if !s.ExpiresAt.IsZero() && !a.Now().Before(s.ExpiresAt) {
			continue
		}
		w := api.AccountSession{ID: s.ID, Kind: s.Kind, About: s.About, CreatedAt: api.Time(s.CreatedAt), Current: s.ID == current}
		if !s.ExpiresAt.IsZero() {
			w.ExpiresAt = api.Time(s.ExpiresAt)
		}
		list = append(list, w)
	}
	return list, nil
}

// SessionOf names the session of a cookie, whether it exists or not.
func (a *Accounts) SessionOf(cookie string) string {
	id, _, _ := strings.Cut(cookie, ".")
	return id
}

// EndOtherSessions ends the user's sessions but one, and those of this host,
// which do not end by themselves; ended are their ids.
func (a *Accounts) EndOtherSessions(ctx context.Context, user api.Me, keep string) (ended []string, err error) {
	return a.store.DeleteSessions(ctx, user.ID, keep)
}

// ChangePassword sets a new password for who knows the old one. Other sessions
// and all access tokens end; ended are the sessions' ids. Wrong guesses count
// like those of signing in.
func (a *Accounts) ChangePassword(ctx context.Context, user api.Me, req api.ChangePassword, keep string, from api.Origin) (ended []string, err error) {
	u, err := a.store.User(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	if u.PasswordHash == "" {
		return nil, api.Errorf(api.Conflict, "cannot change the password of %q: this account has none; an administrator can make a link that sets one", u.Name)
	}
	if err := a.limits.guess(u.Name, from.Address, a.Now()); err != nil {
		return nil, err
	}
	ok, err := checkPassword(ctx, req.Old, u.PasswordHash)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		// Not Unauthenticated: the session is good.
		return nil, api.Errorf(api.Forbidden, "cannot change the password: the old one is not right")
	}
	a.limits.right(u.Name)
	if req.New == req.Old {
		return nil, api.Errorf(api.Invalid, "this is the old password: choose another")
	}
	hashed, err := a.hashPassword(ctx, u.Name, req.New)
	if err != nil {
		return nil, err
	}
	return a.store.SetPassword(ctx, u.ID, u.Name, hashed, keep)
}
