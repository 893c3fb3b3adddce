package server

import (
	"errors"
	"net/http"

	"sandlot/api"
)

// The ways in, for the page: what its forms send is JSON, and a reply sets the
// browser's cookie. They are nobody's routes, so each looks for other sites'
// pages by itself.

func signinWays(s *Server, c *call) (any, error) {
	ways := api.SigninWays{SingleUser: s.SingleUser, Passwords: s.Accounts != nil && !s.SingleUser}
	if s.Provider != nil {
		ways.Provider = s.Provider.Name()
	}
	return ways, nil
}

// ownPage reads the body of a form of our own page.
func ownPage[T any](s *Server, c *call) (Accounts, T, error) {
	var body T
	a, err := s.accounts()
	if err != nil {
		return nil, body, err
	}
	if s.crossOrigin.Check(c.Request) != nil {
		return nil, body, errCross
	}
	s.recognise(c)
	body, err = decode[T](c)
	return a, body, err
}

// recognise finds out who a browser is already, where that may be nobody.
func (s *Server) recognise(c *call) {
	if who, err := s.identify(c.Request); err == nil {
		c.caller = who
	}
}

// welcome gives a browser its session and tells it who it is now. The one it had
// ends.
func (s *Server) welcome(w http.ResponseWriter, c *call, who api.Me, via, action, cookie string) error {
	if c.cookie != "" {
		if err := s.signOut(c); err != nil {
			return err
		}
	}
	s.record(c.Request, caller{user: who, via: via}, action, "", nil)
	s.setCookie(w, c.Request, cookie)
	writeJSON(w, http.StatusOK, who)
	return nil
}

func passwordSignin(s *Server, w http.ResponseWriter, c *call) error {
	a, body, err := ownPage[api.Signin](s, c)
	if err != nil {
		return err
	}
	cookie, who, err := a.SignIn(c.Context(), body.Name, body.Password, s.origin(c.Request))
	var refusal *api.Error
	if errors.As(err, &refusal) && who.ID != "" {
		s.record(c.Request, caller{user: who, via: "password"}, "sign in", "", err)
	}
	if err != nil {
		return err
	}
	return s.welcome(w, c, who, "password", "sign in", cookie)
}

// signout succeeds for who is not signed in, too.
func signout(s *Server, w http.ResponseWriter, c *call) error {
	if s.crossOrigin.Check(c.Request) != nil {
		return errCross
	}
	s.recognise(c)
	if c.cookie != "" {
		if err := s.signOut(c); err != nil {
			return err
		}
		s.record(c.Request, c.caller, "sign out", "", nil)
	}
	s.setCookie(w, c.Request, "")
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

func showLink(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	return a.Join(c.Context(), c.PathValue("token"))
}

// useLink makes the account that a link is for, or sets its password.
func useLink(s *Server, w http.ResponseWriter, c *call) error {
	a, body, err := ownPage[api.Signin](s, c)
	if err != nil {
		return err
	}
	token := c.PathValue("token")
	j, err := a.Join(c.Context(), token)
	if err != nil {
		return err
	}
	cookie, who, err := a.Accept(c.Context(), token, body.Name, body.Password, s.origin(c.Request))
	if err != nil {
		return err
	}
	return s.welcome(w, c, who, "link", "use link "+j.Kind, cookie)
}

func useSigninLink(s *Server, w http.ResponseWriter, c *call) error {
	a, _, err := ownPage[struct{}](s, c)
	if err != nil {
		return err
	}
	cookie, who, err := a.UseSignin(c.Context(), c.PathValue("token"), s.origin(c.Request))
	if err != nil {
		return err
	}
	return s.welcome(w, c, who, "link", "use link signin", cookie)
}

func showLogin(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	return a.Pending(c.Context(), c.PathValue("code"))
}

func answerLogin(s *Server, c *call) (any, error) {
	a, err := s.accounts()
	if err != nil {
		return nil, err
	}
	answer, err := decode[api.LoginAnswer](c)
	if err != nil {
		return nil, err
	}
	code := c.PathValue("code")
	pending, err := a.Pending(c.Context(), code)
	if err != nil {
		return nil, err
	}
	if answer.Confirm {
		c.did("confirm login", pending.About)
		return struct{}{}, a.Confirm(c.Context(), c.user, code)
	}
	c.did("deny login", pending.About)
	return struct{}{}, a.Deny(c.Context(), code)
}
