package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"sandlot/api"
)

//go:embed pages/*.html
var pageFiles embed.FS

var pageTemplates = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// pages are for browsers: forms and their answers. Where labd has its page, that
// is what browsers are shown instead of the forms (see plain); the forms are for
// a labd without one, and for browsers and programs without scripts.
var pages = []route{
	{"GET", "/login", page, nil, loginPage, about{summary: "Asks for name and password"}},
	{"POST", "/login", page, nil, login, about{summary: "Signs in with a password"}},
	{"POST", "/logout", page, nil, logout, about{summary: "Ends the browser's session"}},
	{"GET", "/account", page, nil, accountPage, about{summary: "Shows who is signed in"}},
	{"GET", "/cli-auth/{code}", page, nil, confirmPage, about{summary: "Shows the session of a client that asks to be confirmed"}},
	{"POST", "/cli-auth/{code}", page, nil, confirm, about{summary: "Confirms or denies it"}},
	{"GET", "/join/{token}", page, nil, joinPage, about{summary: "Asks for the name and password of an account"}},
	{"POST", "/join/{token}", page, nil, join, about{summary: "Uses the link up: makes the account, or sets its password"}},
	{"GET", "/signin/{token}", page, nil, signinPage, about{summary: "Signs the browser in by a link, once"}},
	{"POST", "/signin/{token}", page, nil, signin, about{summary: "The same, asked for by another site's page"}},
	{"GET", "/auth/provider", page, nil, toProvider, about{summary: "Goes to the OpenID Connect provider"}},
	{"GET", "/auth/provider/callback", page, nil, fromProvider, about{summary: "Comes back from there, signed in"}},
}

// Provider is an OpenID Connect provider.
type Provider interface {
	// Name is what people call it.
	Name() string
	// Start returns where to send a browser, and a state that must come back in
	// it and in the request to redirect.
	Start(ctx context.Context, redirect, next string) (address, state string, err error)
	// Finish turns what came back into who it is, once.
	Finish(ctx context.Context, state string, query url.Values) (who api.Identity, next string, err error)
}

// view is what templates show.
type view struct {
	Title    string
	Message  string // what went wrong, or well
	User     api.Me
	CSRF     string
	Next     string
	Provider string
	Name     string
	Join     api.Join
	Pending  api.PendingLogin
}

// show writes a page.
func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) error {
	if s.Provider != nil {
		v.Provider = s.Provider.Name()
	}
	if name == "login" {
		// It may lead on to an exposed port, and browsers look at where a form
		// ends.
		w.Header().Set("Content-Security-Policy", pagePolicy+"form-action 'self' http: https:")
	}
	var b bytes.Buffer
	if err := pageTemplates.ExecuteTemplate(&b, name, v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
	return nil
}

const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "

// pageHeaders keep other sites' pages away from ours, and our links from them.
// The referrer is kept among our own pages: without any, browsers send
// "Origin: null".
func pageHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", pagePolicy+"form-action 'self'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// showError is refuse for people.
func (s *Server) showError(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *api.Error
	if !errors.As(err, &refusal) {
		s.Log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", r.Pattern, "error", err)
		refusal = api.Errorf(api.Internal, "labd failed; its log says why")
	}
	v := view{Title: "That did not work", Message: refusal.Error()}
	if err := s.show(w, r, s.statusOf(w, refusal), "message", v); err != nil {
		s.refuse(w, r, err)
	}
}

// csrfOf is what a form must send back: only a page that the session's browser
// was shown can know it.
func csrfOf(cookie string) string {
	sum := sha256.Sum256([]byte("form\x00" + cookie))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// form reads a form that our own page has sent.
func (s *Server) form(c *call) error {
	if s.crossOrigin.Check(c.Request) != nil {
		return errCross
	}
	if err := c.ParseForm(); err != nil {
		return api.Errorf(api.Invalid, "cannot read the form")
	}
	if c.cookie != "" && c.Pattern == "POST /cli-auth/{code}" &&
		subtle.ConstantTimeCompare([]byte(c.PostForm.Get("csrf")), []byte(csrfOf(c.cookie))) != 1 {
		return api.Errorf(api.Forbidden, "this form is not from this session: load the page again")
	}
	return nil
}

// afterLogin is where to go after a login: a path of ours, never another site.
func afterLogin(next string) string {
	const home = "/account"
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" ||
		!strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t\x00") {
		return home
	}
	return next
}

func seeOther(w http.ResponseWriter, c *call, path string) error {
	http.Redirect(w, c.Request, path, http.StatusSeeOther)
	return nil
}

// entered gives a browser its new session, ends the one it had, and goes on.
func (s *Server) entered(w http.ResponseWriter, c *call, who api.Me, via, action, cookie, next string) error {
	if c.cookie != "" {
		if err := s.signOut(c); err != nil {
			return err
		}
	}
	s.record(c.Request, caller{user: who, via: via}, action, "", nil)
	s.setCookie(w, c.Request, cookie)
	return seeOther(w, c, afterLogin(next))
}

// signOut ends a browser's session, and its way into exposed things.
func (s *Server) signOut(c *call) error {
	s.Visitors.EndVisits(c.login())
	return s.Accounts.SignOut(c.Context(), c.cookie)
}

func loginPage(s *Server, w http.ResponseWriter, c *call) error {
	next := afterLogin(c.URL.Query().Get("next"))
	if c.user.ID != "" {
		return seeOther(w, c, next)
	}
	if !s.plain(c) {
		return s.serveView(w, c, http.StatusOK)
	}
	return s.show(w, c.Request, http.StatusOK, "login", view{Title: "Sign in", Next: next})
}

func login(s *Server, w http.ResponseWriter, c *call) error {
	a, err := s.accounts()
	if err != nil {
		return err
	}
	if err := s.form(c); err != nil {
		return err
	}
	name, next := c.PostForm.Get("name"), afterLogin(c.PostForm.Get("next"))
	cookie, who, err := a.SignIn(c.Context(), name, c.PostForm.Get("password"), s.origin(c.Request))
	var refusal *api.Error
	if errors.As(err, &refusal) {
		if who.ID != "" {
			s.record(c.Request, caller{user: who, via: "password"}, "sign in", "", err)
		}
		return s.show(w, c.Request, s.statusOf(w, refusal), "login", view{Title: "Sign in", Message: refusal.Message, Next: next, Name: name})
	}
	if err != nil {
		return err
	}
	return s.entered(w, c, who, "password", "sign in", cookie, next)
}

func logout(s *Server, w http.ResponseWriter, c *call) error {
	if err := s.form(c); err != nil {
		return err
	}
	if c.cookie != "" {
		if err := s.signOut(c); err != nil {
			return err
		}
		s.record(c.Request, c.caller, "sign out", "", nil)
	}
	s.setCookie(w, c.Request, "")
	return seeOther(w, c, "/login")
}

func accountPage(s *Server, w http.ResponseWriter, c *call) error {
	if !s.plain(c) {
		return s.serveView(w, c, http.StatusOK)
	}
	if c.user.ID == "" {
		return toLogin(w, c)
	}
	return s.show(w, c.Request, http.StatusOK, "account", view{Title: "Your account", User: c.user})
}

func toLogin(w http.ResponseWriter, c *call) error {
	return seeOther(w, c, "/login?next="+url.QueryEscape(c.URL.RequestURI()))
}

func confirmPage(s *Server, w http.ResponseWriter, c *call) error {
	if !s.plain(c) {
		return s.serveView(w, c, http.StatusOK)
	}
	a, err := s.accounts()
	if err != nil {
		return err
	}
	pending, err := a.Pending(c.Context(), c.PathValue("code"))
	if err != nil {
		return err
	}
	if c.cookie == "" {
		return toLogin(w, c)
	}
	return s.show(w, c.Request, http.StatusOK, "confirm", view{Title: "Let a program in?", User: c.user, Pending: pending, CSRF: csrfOf(c.cookie)})
}

func confirm(s *Server, w http.ResponseWriter, c *call) error {
	if c.cookie == "" {
		return errSignIn
	}
	if err := s.form(c); err != nil {
		return err
	}
	code := c.PathValue("code")
	pending, err := s.Accounts.Pending(c.Context(), code)
	if err != nil {
		return err
	}
	action, message := "confirm login", "The program is signed in as "+c.user.Name+". You can close this page."
	if c.PostForm.Get("answer") == "yes" {
		err = s.Accounts.Confirm(c.Context(), c.user, code)
	} else {
		action, message = "deny login", "The program was not let in."
		err = s.Accounts.Deny(c.Context(), code)
	}
	s.record(c.Request, c.caller, action, pending.About, err)
	if err != nil {
		return err
	}
	return s.show(w, c.Request, http.StatusOK, "message", view{Title: "Done", Message: message})
}

func joinPage(s *Server, w http.ResponseWriter, c *call) error {
	if !s.plain(c) {
		return s.serveView(w, c, http.StatusOK)
	}
	a, err := s.accounts()
	if err != nil {
		return err
	}
	j, err := a.Join(c.Context(), c.PathValue("token"))
	if err != nil {
		return err
	}
	return s.show(w, c.Request, http.StatusOK, "join", view{Title: joinTitles[j.Kind], Join: j, Name: j.Name})
}

var joinTitles = map[string]string{
	"first": "The first administrator", "invite": "Make your account", "password": "Set your password",
}

func join(s *Server, w http.ResponseWriter, c *call) error {
	a, err := s.accounts()
	if err != nil {
		return err
	}
	if err := s.form(c); err != nil {
		return err
	}
	token, name := c.PathValue("token"), c.PostForm.Get("name")
	j, err := a.Join(c.Context(), token)
	if err != nil {
		return err
	}
	cookie, who, err := a.Accept(c.Context(), token, name, c.PostForm.Get("password"), s.origin(c.Request))
	var refusal *api.Error
	if errors.As(err, &refusal) && refusal.Kind != api.Gone {
		return s.show(w, c.Request, s.statusOf(w, refusal), "join", view{Title: joinTitles[j.Kind], Message: refusal.Message, Join: j, Name: name})
	}
	if err != nil {
		return err
	}
	return s.entered(w, c, who, "link", "use link "+j.Kind, cookie, "")
}

// signinPage asks first if another site's page sent the browser here: else it
// could sign somebody in as somebody else without their noticing.
func signinPage(s *Server, w http.ResponseWriter, c *call) error {
	switch c.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		err := useSignin(s, w, c)
		var refusal *api.Error
		if errors.As(err, &refusal) && !s.plain(c) {
			return s.serveView(w, c, s.statusOf(w, refusal)) // which asks again, and shows why not
		}
		return err
	}
	if !s.plain(c) {
		return s.serveView(w, c, http.StatusOK)
	}
	return s.show(w, c.Request, http.StatusOK, "signin", view{Title: "Sign in by this link?"})
}

func signin(s *Server, w http.ResponseWriter, c *call) error {
	if err := s.form(c); err != nil {
		return err
	}
	return useSignin(s, w, c)
}

func useSignin(s *Server, w http.ResponseWriter, c *call) error {
	a, err := s.accounts()
	if err != nil {
		return err
	}
	cookie, who, err := a.UseSignin(c.Context(), c.PathValue("token"), s.origin(c.Request))
	if err != nil {
		return err
	}
	return s.entered(w, c, who, "link", "use link signin", cookie, "")
}

// stateCookie ties a visit at the provider to the browser that began it.
const stateCookie = "sandlot_state"

func (s *Server) providerCookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: stateCookie, Value: value, Path: "/auth/provider", HttpOnly: true,
		Secure: s.secure(r), SameSite: http.SameSiteLaxMode, MaxAge: age,
	}
}

func toProvider(s *Server, w http.ResponseWriter, c *call) error {
	if s.Provider == nil || s.Accounts == nil {
		return api.Errorf(api.NotFound, "this labd has no OpenID Connect provider")
	}
	address, state, err := s.Provider.Start(c.Context(), s.base(c, "http")+"/auth/provider/callback", afterLogin(c.URL.Query().Get("next")))
	if err != nil {
		return err
	}
	http.SetCookie(w, s.providerCookie(c.Request, state, 600))
	return seeOther(w, c, address)
}

func fromProvider(s *Server, w http.ResponseWriter, c *call) error {
	if s.Provider == nil || s.Accounts == nil {
		return api.Errorf(api.NotFound, "this labd has no OpenID Connect provider")
	}
	state, err := c.Cookie(stateCookie)
	query := c.URL.Query()
	if err != nil || subtle.ConstantTimeCompare([]byte(state.Value), []byte(query.Get("state"))) != 1 {
		return api.Errorf(api.Forbidden, "this login was not begun in this browser: sign in again")
	}
	http.SetCookie(w, s.providerCookie(c.Request, "", -1))
	identity, next, err := s.Provider.Finish(c.Context(), state.Value, query)
	if err != nil {
		return err
	}
	cookie, who, err := s.Accounts.SignInIdentity(c.Context(), identity, s.origin(c.Request))
	if err != nil {
		return err
	}
	return s.entered(w, c, who, "provider", "sign in", cookie, next)
}
