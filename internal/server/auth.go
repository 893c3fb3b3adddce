package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"sandlot/api"
)

// Auth knows users by the sessions of their clients.
type Auth interface {
	// Authenticate returns the user of a session; Unauthenticated if the
	// session does not exist, has ended or is pending, or the token is wrong.
	// It must compare the token in constant time.
	Authenticate(ctx context.Context, sessionID, token string) (api.Me, error)
	// EndSession ends one of the user's sessions. Ending one that does not
	// exist succeeds: clients keep their credentials on any error.
	EndSession(ctx context.Context, user api.Me, sessionID string) error
}

// Accounts is all that is known of people. Secrets go in and out as they are;
// only their hashes are kept.
type Accounts interface {
	Credentials
	Logins
	Entrances
	Tokens
	Own
	Audit
}

// Credentials other than sessions of clients; wrong ones are Unauthenticated.
type Credentials interface {
	ByCookie(ctx context.Context, cookie string) (api.Me, error)
	ByToken(ctx context.Context, token string) (who api.Me, scopes []string, err error)
	// Local is the user of a labd without logins.
	Local(ctx context.Context) (api.Me, error)
}

// Logins let people sign clients in with a browser.
type Logins interface {
	// NewSession makes a session that is pending until the page with this code
	// confirms it, NewUserSession one that needs no confirmation.
	NewSession(ctx context.Context, from api.Origin) (s api.Session, code string, err error)
	NewUserSession(ctx context.Context, user api.Me, from api.Origin) (api.Session, error)
	// PollSession returns a session, pending or not, to whoever has its token.
	PollSession(ctx context.Context, sessionID, token string) (api.Session, error)
	Pending(ctx context.Context, code string) (api.PendingLogin, error)
	Confirm(ctx context.Context, user api.Me, code string) error
	Deny(ctx context.Context, code string) error
}

// Entrances sign browsers in, and make accounts. A wrong password names the
// account, if there is one, for the audit log alone.
type Entrances interface {
	SignIn(ctx context.Context, name, password string, from api.Origin) (cookie string, who api.Me, err error)
	SignInIdentity(ctx context.Context, i api.Identity, from api.Origin) (cookie string, who api.Me, err error)
	UseSignin(ctx context.Context, token string, from api.Origin) (cookie string, who api.Me, err error)
	Join(ctx context.Context, token string) (api.Join, error)
	Accept(ctx context.Context, token, name, password string, from api.Origin) (cookie string, who api.Me, err error)
	SignOut(ctx context.Context, cookie string) error
}

// Tokens and links that a user makes.
type Tokens interface {
	NewToken(ctx context.Context, user api.Me, req api.CreateToken) (api.OAuthToken, error)
	Tokens(ctx context.Context, user api.Me) ([]api.OAuthToken, error)
	RevokeToken(ctx context.Context, user api.Me, id string) error
	SigninLink(ctx context.Context, user api.Me) (token string, err error)
	SetPreferences(ctx context.Context, user api.Me, p api.Preferences) (api.Me, error)
}

// Own is what users see and change of their own accounts.
type Own interface {
	Account(ctx context.Context, user api.Me) (api.Account, error)
	// ChangePassword ends all sessions but the one to keep, and says which.
	ChangePassword(ctx context.Context, user api.Me, req api.ChangePassword, keep string, from api.Origin) (ended []string, err error)
	Sessions(ctx context.Context, user api.Me, current string) ([]api.AccountSession, error)
	// EndOtherSessions ends all but the one to keep, and says which.
	EndOtherSessions(ctx context.Context, user api.Me, keep string) (ended []string, err error)
	// SessionOf names the session of a cookie.
	SessionOf(cookie string) string
}

// Audit keeps who did what.
type Audit interface {
	Record(ctx context.Context, e api.AuditEntry) error
	Audit(ctx context.Context, limit int) ([]api.AuditEntry, error)
}

// caller is who sent a request, and what proves it.
type caller struct {
	user api.Me
	// via is session, browser, token or single-user.
	via string
	// scopes bound a token.
	scopes []string
	// cookie of a browser.
	cookie string
	// session of a client or of a browser.
	session string
}

// login names what somebody is signed in by, to end what they were given with
// it; "" for what does not end.
func (c caller) login() string {
	if c.session == "" {
		return ""
	}
	return loginOf(c.user, c.session)
}

func loginOf(user api.Me, session string) string { return "session " + user.ID + " " + session }

// Names of the browser session's cookie. The second can be set by nobody but
// this very host over TLS: not by pages of machines on hosts below it.
const (
	cookieName       = "sandlot_session"
	secureCookieName = "__Host-sandlot_session"
)

var (
	errSignIn = api.Errorf(api.Unauthenticated, "authentication required: run labctl auth login")
	errCross  = api.Errorf(api.Forbidden, "this request comes from another site's page")
)

// identify finds out who sent a request. What a client sends on purpose comes
// before what a browser sends by itself.
func (s *Server) identify(r *http.Request) (caller, error) {
	ctx := r.Context()
	if header := r.Header.Get("Authorization"); header != "" {
		if id, token, ok := r.BasicAuth(); ok {
			user, err := s.Auth.Authenticate(ctx, id, token)
			return caller{user: user, via: "session", session: id}, err
		}
		scheme, token, _ := strings.Cut(header, " ")
		if s.Accounts == nil || !strings.EqualFold(scheme, "Bearer") {
			return caller{}, errSignIn
		}
		user, scopes, err := s.Accounts.ByToken(ctx, strings.TrimSpace(token))
		return caller{user: user, via: "token", scopes: scopes}, err
	}
	if s.Accounts == nil {
		return caller{}, errSignIn
	}
	if cookie, err := r.Cookie(s.cookieName(r)); err == nil {
		if s.foreign(r) {
			return caller{}, errCross
		}
		user, err := s.Accounts.ByCookie(ctx, cookie.Value)
		if err == nil || !s.SingleUser {
			return caller{user: user, via: "browser", cookie: cookie.Value, session: s.Accounts.SessionOf(cookie.Value)}, err
		}
	}
	if s.SingleUser {
		if s.foreign(r) || !loopback(r) {
			return caller{}, errCross
		}
		user, err := s.Accounts.Local(ctx)
		return caller{user: user, via: "single-user"}, err
	}
	return caller{}, errSignIn
}

// anonymous tells whether a request brings nothing that could sign it in.
func (s *Server) anonymous(r *http.Request) bool {
	_, err := r.Cookie(s.cookieName(r))
	return r.Header.Get("Authorization") == "" && err != nil && !s.SingleUser
}

// foreign tells whether another site's page made a browser send a request
// that does something. WebSockets begin with a GET, and do something.
func (s *Server) foreign(r *http.Request) bool {
	if r.Header.Get("Upgrade") != "" {
		r = r.Clone(r.Context())
		r.Method = http.MethodPost
	}
	return s.crossOrigin.Check(r) != nil
}

// secure tells whether people reach labd by TLS, here or at a proxy.
func (s *Server) secure(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(s.PublicURL, "https://")
}

func (s *Server) cookieName(r *http.Request) string {
	if s.secure(r) {
		return secureCookieName
	}
	return cookieName
}

// setCookie signs a browser in; "" signs it out.
func (s *Server) setCookie(w http.ResponseWriter, r *http.Request, value string) {
	c := &http.Cookie{
		Name: s.cookieName(r), Value: value, Path: "/", HttpOnly: true,
		Secure: s.secure(r), SameSite: http.SameSiteLaxMode, MaxAge: 14 * 24 * 3600,
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// address is where a request came from: the peer's, or what proxies of ours say
// that they were asked by. The list is read from its end: what stands before
// the first address that is no proxy of ours, anybody may have made up.
func (s *Server) address(r *http.Request) string {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		peer = r.RemoteAddr
	}
	asked := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(asked) - 1; i >= 0 && s.trusted(peer); i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(asked[i]))
		if err != nil {
			break
		}
		peer = a.Unmap().WithZone("").String()
	}
	return peer
}

func (s *Server) trusted(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(s.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a.Unmap().WithZone("")) })
}

// origin is who asks, for people to recognize.
func (s *Server) origin(r *http.Request) api.Origin {
	return api.Origin{Address: s.address(r), About: r.UserAgent()}
}

// hijack tells whether another site's page makes a browser open a WebSocket
// with a ticket it has got hold of. Browsers name a page's scheme and host and
// nothing else; the reference client sends what no browser does.
func (s *Server) hijack(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if r.Header.Get("Upgrade") == "" || origin == "" {
		return false
	}
	if origin == "null" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || strings.EqualFold(u.Host, r.Host) {
		return false
	}
	own, err := url.Parse(s.PublicURL)
	return err != nil || s.PublicURL == "" || !strings.EqualFold(u.Host, own.Host)
}

// record writes the audit log; a log that cannot be written stops nobody.
func (s *Server) record(r *http.Request, who caller, action, target string, err error) {
	if s.Accounts == nil {
		return
	}
	e := api.AuditEntry{
		UserID: who.user.ID, UserName: who.user.Name, Via: who.via, Address: s.address(r),
		Action: action, Target: target, Result: "ok",
	}
	if err != nil {
		e.Result = err.Error()
	}
	if err := s.Accounts.Record(context.WithoutCancel(r.Context()), e); err != nil {
		s.Log.ErrorContext(r.Context(), "cannot write the audit log", "error", err)
	}
}
