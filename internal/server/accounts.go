package server

import (
	"strconv"

	"sandlot/api"
)

func (s *Server) accounts() (Accounts, error) {
	if s.Accounts == nil {
		return nil, api.Errorf(api.Unsupported, "this labd has no browser login yet: use labctl auth login -s SESSION -t TOKEN")
	}
	return s.Accounts, nil
}

func newSession(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	if s.SingleUser {
		who, err := s.identify(c.Request)
		if err != nil {
			return nil, err
		}
		session, err := a.NewUserSession(c.Context(), who.user, s.origin(c.Request))
		session.AuthURL = s.base(c, "http") + "/account"
		return session, err
	}
	session, code, err := a.NewSession(c.Context(), s.origin(c.Request))
	session.AuthURL = s.base(c, "http") + "/cli-auth/" + code
	return session, err
}

func pollSession(s *Server, c *call) (any, error) {
	id, token, ok := c.BasicAuth()
	if !ok || id != c.PathValue("id") {
		return nil, api.Errorf(api.Unauthenticated, "the session's own credentials are required")
	}
	if s.Accounts != nil {
		return s.Accounts.PollSession(c.Context(), id, token)
	}
	me, err := s.Auth.Authenticate(c.Context(), id, token)
	if err != nil {
		return nil, err
	}
	return api.Session{ID: id, UserID: me.ID, Authenticated: true}, nil
}

func endSession(s *Server, c *call) (any, error) {
	s.Visitors.EndVisits(loginOf(c.user, c.PathValue("id")))
	return struct{}{}, s.Auth.EndSession(c.Context(), c.user, c.PathValue("id"))
}

func me(_ *Server, c *call) (any, error) { return c.user, nil }

func showAccount(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	return a.Account(c.Context(), c.user)
}

func changePassword(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	req, err := decode[api.ChangePassword](c)
	if err != nil {
		return nil, err
	}
	ended, err := a.ChangePassword(c.Context(), c.user, req, c.session, s.origin(c.Request))
	return s.endVisits(c, ended), err
}

func listSessions(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	return orEmpty(a.Sessions(c.Context(), c.user, c.session))
}

func endOtherSessions(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	ended, err := a.EndOtherSessions(c.Context(), c.user, c.session)
	return s.endVisits(c, ended), err
}

// endVisits ends what sessions of the user were let into.
func (s *Server) endVisits(c *call, sessions []string) api.EndedSessions {
	for _, id := range sessions {
		s.Visitors.EndVisits(loginOf(c.user, id))
	}
	return api.EndedSessions{Ended: len(sessions)}
}

func signinURL(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	token, err := a.SigninLink(c.Context(), c.user)
	return api.SigninURL{URL: s.base(c, "http") + "/signin/" + token}, err
}

func setPreferences(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	p, err := decode[api.Preferences](c)
	if err != nil {
		return nil, err
	}
	return a.SetPreferences(c.Context(), c.user, p)
}

func newToken(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	req, err := decode[api.CreateToken](c)
	if err != nil {
		return nil, err
	}
	made, err := a.NewToken(c.Context(), c.user, req)
	c.target = made.ID
	return made, err
}

func listTokens(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	return orEmpty(a.Tokens(c.Context(), c.user))
}

func revokeToken(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	return struct{}{}, a.RevokeToken(c.Context(), c.user, c.PathValue("token"))
}

func listAudit(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	limit := 100
	if text := c.URL.Query().Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil {
			return nil, api.Errorf(api.Invalid, "limit is %q: want a number", text)
		}
	}
	return orEmpty(a.Audit(c.Context(), limit))
}
