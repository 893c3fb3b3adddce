// Package admin is what administrators do: users and their plans, how full the
// host is, work on its images and kernels, and how labd is set up. In go
// requests of administrators (internal/server lets in nobody else), out come
// their replies. What it asks of the host comes in through Options.
//
//	admin.go     users
//	jobs.go      work that takes a while: one at a time, with what it tells
//	capacity.go  the last hour of the host, in memory
package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sandlot/api"
	"sandlot/internal/account"
	"sandlot/internal/control"
	"sandlot/internal/store"
)

// Options are what an Admin is made of; all are required unless they say
// otherwise.
type Options struct {
	Store    *store.Store
	Accounts *account.Accounts
	// Plans that users may have by name, and the one they have by default.
	Plans       map[string]control.Budget
	DefaultPlan string
	// About is the host without samples, images and kernels; Measure takes one
	// sample, without its time.
	About   api.HostState
	Measure func() (api.HostSample, error)
	// Images and Kernels are in the host's stores.
	Images  func(ctx context.Context) ([]api.HostImage, error)
	Kernels func(ctx context.Context) ([]api.KernelVersion, error)
	// Work makes what a job does; a refusal is an *api.Error.
	Work func(req api.CreateJob) (Work, error)
	// Settings are those in force, without checks.
	Settings func() (api.SettingsReport, error)
	// Now defaults to time.Now.
	Now func() time.Time
}

// Admin implements what internal/server asks for. Use New.
type Admin struct {
	opts    Options
	jobs    *jobs
	samples ring
}

// New returns an Admin whose jobs end with ctx; Wait waits for them.
func New(ctx context.Context, o Options) *Admin {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Admin{opts: o, jobs: newJobs(ctx, o.Now)}
}

// Wait returns when no job runs any more; call it after the end of New's ctx.
func (a *Admin) Wait() { a.jobs.running.Wait() }

// Users returns one page of accounts by name, and how many match in all: those
// whose name or id has the words in it.
func (a *Admin) Users(ctx context.Context, search string, page api.Page) ([]api.Account, int, error) {
	all, err := a.opts.Accounts.List(ctx)
	if err != nil {
		return nil, 0, err
	}
	word := strings.ToLower(strings.TrimSpace(search))
	all = slices.DeleteFunc(all, func(u store.User) bool { return !strings.Contains(u.Name, word) && !strings.Contains(u.ID, word) })
	rest := all[min(page.Offset, len(all)):]
	list, err := a.describe(ctx, rest[:min(page.Limit, len(rest))]...)
	return list, len(all), err
}

// describe tells of accounts what administrators see, in the same order.
func (a *Admin) describe(ctx context.Context, users ...store.User) ([]api.Account, error) {
	list, err := a.opts.Accounts.Describe(ctx, users...)
	if err != nil {
		return nil, err
	}
	for i, u := range users {
		use, err := a.opts.Store.UseOf(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		list[i].Plan, list[i].Use = control.PlanOf(u, a.opts.Plans, a.opts.DefaultPlan), new(control.WireUse(use))
	}
	return list, nil
}

// find returns the user with this id.
func (a *Admin) find(ctx context.Context, id string) (store.User, error) {
	u, err := a.opts.Store.User(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		err = api.Errorf(api.NotFound, "there is no user %q", id)
	}
	return u, err
}

// ChangeUser changes an account. Nobody locks themselves out or gives up being
// an administrator: so there is always one.
func (a *Admin) ChangeUser(ctx context.Context, admin api.Me, id string, change api.ChangeAccount) (api.Account, error) {
	if _, err := a.find(ctx, id); err != nil {
		return api.Account{}, err
	}
	var err error
	own := admin.ID == id
	switch {
	case own && change.Disabled != nil && *change.Disabled:
		err = api.Errorf(api.Conflict, "cannot disable your own account: another administrator can")
	case own && change.Role != nil && *change.Role != api.RoleAdministrator:
		err = api.Errorf(api.Conflict, "cannot make yourself an ordinary user: another administrator can")
	case change.Role != nil && *change.Role != api.RoleUser && *change.Role != api.RoleAdministrator:
		err = api.Errorf(api.Invalid, "cannot use role %q: write %s or %s", *change.Role, api.RoleUser, api.RoleAdministrator)
	case change.Plan != nil && *change.Plan != "" && !a.isPlan(*change.Plan):
		err = api.Errorf(api.Invalid, "there is no plan %q: there are %s", *change.Plan, strings.Join(slices.Sorted(maps.Keys(a.opts.Plans)), ", "))
	}
	if err != nil {
		return api.Account{}, err
	}
	if change.Role != nil {
		err = errors.Join(err, a.opts.Store.SetRole(ctx, id, *change.Role))
	}
	if change.Plan != nil {
		err = errors.Join(err, a.opts.Store.SetPlan(ctx, id, *change.Plan))
	}
	if change.Disabled != nil {
		err = errors.Join(err, a.opts.Store.SetDisabled(ctx, id, *change.Disabled))
	}
	if err != nil {
		return api.Account{}, err
	}
	u, err := a.find(ctx, id)
	if err != nil {
		return api.Account{}, err
	}
	list, err := a.describe(ctx, u)
	if err != nil {
		return api.Account{}, err
	}
	return list[0], nil
}

func (a *Admin) isPlan(name string) bool {
	_, ok := a.opts.Plans[name]
	return ok
}

// Invite makes a link with which somebody makes an account.
func (a *Admin) Invite(ctx context.Context, role string) (token string, ends time.Time, err error) {
	role = cmp.Or(role, api.RoleUser)
	if role != api.RoleUser && role != api.RoleAdministrator {
		return "", ends, api.Errorf(api.Invalid, "cannot use role %q: write %s or %s", role, api.RoleUser, api.RoleAdministrator)
	}
	token, err = a.opts.Accounts.Invite(ctx, role)
	return token, a.opts.Now().Add(account.LifeOf(account.LinkInvite)), err
}

// PasswordLink makes a link with which a user sets a new password.
func (a *Admin) PasswordLink(ctx context.Context, id string) (token string, ends time.Time, err error) {
	u, err := a.find(ctx, id)
	if err != nil {
		return "", ends, err
	}
	if u.Disabled {
		return "", ends, api.Errorf(api.Conflict, "cannot make a link for %q: the account is disabled; enable it first", u.Name)
	}
	token, err = a.opts.Accounts.PasswordLink(ctx, u.Name)
	return token, a.opts.Now().Add(account.LifeOf(account.LinkPassword)), err
}

// Plans lists the plans by name.
func (a *Admin) Plans(context.Context) ([]api.NamedPlan, error) {
	var list []api.NamedPlan
	for _, name := range slices.Sorted(maps.Keys(a.opts.Plans)) {
		list = append(list, api.NamedPlan{Name: name, Default: name == a.opts.DefaultPlan, Limits: a.opts.Plans[name].Wire()})
	}
	return list, nil
}

// Host tells what the host has, and how much of it was used when.
func (a *Admin) Host(ctx context.Context) (api.HostState, error) {
	h := a.opts.About
	var err error
	if h.Images, err = a.opts.Images(ctx); err != nil {
		return h, fmt.Errorf("cannot list images: %w", err)
	}
	if h.Kernels, err = a.opts.Kernels(ctx); err != nil {
		return h, fmt.Errorf("cannot list kernels: %w", err)
	}
	h.SampleSeconds = int(SampleEvery / time.Second)
	h.Samples = a.samples.all()
	return h, nil
}

// Settings tells how labd is set up.
func (a *Admin) Settings(context.Context) (api.SettingsReport, error) { return a.opts.Settings() }
