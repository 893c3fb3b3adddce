package server

import (
	"context"
	"strings"
	"time"

	"sandlot/api"
)

// Administration is what administrators do; the routes let in nobody else.
type Administration interface {
	People
	Hosts
	Jobs
}

// People are the users and their plans. A user who does not exist is NotFound.
type People interface {
	// Users is one page by name of those whom search finds, and how many there
	// are in all.
	Users(ctx context.Context, search string, page api.Page) ([]api.Account, int, error)
	ChangeUser(ctx context.Context, admin api.Me, id string, change api.ChangeAccount) (api.Account, error)
	// Invite and PasswordLink make tokens of links that are good once.
	Invite(ctx context.Context, role string) (token string, ends time.Time, err error)
	PasswordLink(ctx context.Context, id string) (token string, ends time.Time, err error)
	Plans(ctx context.Context) ([]api.NamedPlan, error)
}

// Hosts tells of labd's host, and how labd is set up on it.
type Hosts interface {
	Host(ctx context.Context) (api.HostState, error)
	// Settings has no checks: the server has them.
	Settings(ctx context.Context) (api.SettingsReport, error)
}

// Jobs are work on the host's images and kernels.
type Jobs interface {
	Jobs(ctx context.Context) ([]api.Job, error)
	// WatchJobs sends them at once and after changes until ctx ends, the newest
	// first; who is slow gets the last state only.
	WatchJobs(ctx context.Context) <-chan []api.Job
	// StartJob returns at once; the same job twice is one.
	StartJob(ctx context.Context, admin api.Me, req api.CreateJob) (api.Job, error)
	// CancelJob leaves a job alone that has ended.
	CancelJob(ctx context.Context, id string) (api.Job, error)
}

func (s *Server) admin() (Administration, error) {
	if s.Administration == nil {
		return nil, api.Errorf(api.Unsupported, "this labd has nothing for administrators")
	}
	return s.Administration, nil
}

// Bounds of one page of users.
const (
	defaultUsers = 50
	maxUsers     = 200
)

func listUsers(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	page, err := c.page(defaultUsers, maxUsers)
	if err != nil {
		return nil, err
	}
	list, total, err := a.Users(c.Context(), c.URL.Query().Get("search"), page)
	list, err = orEmpty(list, err)
	return countedReply{list, total}, err
}

func changeUser(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	change, err := decode[api.ChangeAccount](c)
	if err != nil {
		return nil, err
	}
	c.did("change user", c.PathValue("user"), describeChange(change))
	return a.ChangeUser(c.Context(), c.user, c.PathValue("user"), change)
}

// describeChange is for the audit log.
func describeChange(change api.ChangeAccount) (text string) {
	if change.Role != nil {
		text += " role " + *change.Role
	}
	if change.Plan != nil {
		text += " plan " + *change.Plan
	}
	if change.Disabled != nil {
		text += map[bool]string{true: " disabled", false: " enabled"}[*change.Disabled]
	}
	return strings.TrimSpace(text)
}

func inviteUser(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	req, err := decode[api.Invite](c)
	if err != nil {
		return nil, err
	}
	c.did("invite", req.Role)
	token, ends, err := a.Invite(c.Context(), req.Role)
	return s.accountLink(c, token, ends), err
}

func passwordLink(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	c.did("make a password link", c.PathValue("user"))
	token, ends, err := a.PasswordLink(c.Context(), c.PathValue("user"))
	return s.accountLink(c, token, ends), err
}

func (s *Server) accountLink(c *call, token string, ends time.Time) api.AccountLink {
	return api.AccountLink{URL: s.base(c, "http") + "/join/" + token, ExpiresAt: api.Time(ends)}
}

func listPlans(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	return orEmpty(a.Plans(c.Context()))
}

func showHost(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	return a.Host(c.Context())
}

func listJobs(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	return orEmpty(a.Jobs(c.Context()))
}

func startJob(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	req, err := decode[api.CreateJob](c)
	if err != nil {
		return nil, err
	}
	c.did("start job", req.Kind, req.Name)
	return a.StartJob(c.Context(), c.user, req)
}

func cancelJob(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	c.did("cancel job", c.PathValue("job"))
	return a.CancelJob(c.Context(), c.PathValue("job"))
}

func showSettings(s *Server, c *call) (any, error) {
	a, err := s.admin()
	if err != nil {
		return nil, err
	}
	report, err := a.Settings(c.Context())
	if err != nil {
		return nil, err
	}
	report.Checks = s.health(c.Context())
	return report, nil
}
