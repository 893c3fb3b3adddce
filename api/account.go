package api

import "slices"

// Roles of users.
const (
	RoleUser          = "user"
	RoleAdministrator = "administrator"
)

// Administrator tells whether the user may do what administrators may.
func (m Me) Administrator() bool { return m.Role == RoleAdministrator }

// Scopes are what an access token may be limited to. The reference client
// knows all of them; learning and author open nothing here.
var Scopes = []string{
	ScopeAccountRead, ScopeAccountWrite, "learning:read", "learning:write",
	ScopePlaygroundRead, ScopePlaygroundWrite, "author:read", "author:write",
}

// Scopes that open routes.
const (
	ScopeAccountRead     = "account:read"
	ScopeAccountWrite    = "account:write"
	ScopePlaygroundRead  = "playground:read"
	ScopePlaygroundWrite = "playground:write"
)

// KnownScope tells whether a token may ask for it.
func KnownScope(scope string) bool { return slices.Contains(Scopes, scope) }

// CreateToken asks for an access token. ExpiresInDays is 1 to 365; 0 means 90.
type CreateToken struct {
	Name          string   `json:"name"`
	Scope         []string `json:"scope"`
	ExpiresInDays int      `json:"expiresInDays,omitempty"`
}

// OAuthToken is an access token; AccessToken is only in the reply that made it.
type OAuthToken struct {
	AccessToken string   `json:"accessToken,omitempty"`
	ID          string   `json:"id"`
	Kind        string   `json:"kind"`
	Name        string   `json:"name"`
	Scope       []string `json:"scope"`
	CreatedAt   string   `json:"createdAt"`
	ExpiresAt   string   `json:"expiresAt"`
}

// SigninURL is an address that signs a browser in, once.
type SigninURL struct {
	URL string `json:"url"`
}

// Preferences change the user's own settings: those that are given.
type Preferences struct {
	Region string `json:"region,omitempty"`
	// DisplayName is what people call themselves; "" is none. Addition.
	DisplayName *string `json:"displayName,omitempty"`
}

// Account is a user as they see themselves, and as administrators see them.
// Addition.
type Account struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// DisplayName is what they call themselves, Email where a provider says that
	// they are reached.
	DisplayName string `json:"displayName,omitempty"`
	Email       string `json:"email,omitempty"`
	Role        string `json:"role"`
	// Plan is the one that holds, GivenPlan the one that an administrator gave;
	// "" is the default one. Plan and Use are for administrators alone.
	Plan      string   `json:"plan,omitempty"`
	GivenPlan string   `json:"givenPlan,omitempty"`
	Use       *PlanUse `json:"use,omitempty"`
	Disabled  bool     `json:"disabled"`
	// Password tells whether one opens the account, Provider whether an OpenID
	// Connect provider does.
	Password  bool   `json:"password"`
	Provider  bool   `json:"provider"`
	CreatedAt string `json:"createdAt"`
}

// AccountSession is one browser or client that a user is signed in with.
// Addition.
type AccountSession struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"` // browser or cli
	About     string `json:"about"`
	CreatedAt string `json:"createdAt"`
	// ExpiresAt is "" for a session that does not end by itself.
	ExpiresAt string `json:"expiresAt,omitempty"`
	// Current is the session that asks.
	Current bool `json:"current"`
}

// EndedSessions tells how many sessions ended. Addition.
type EndedSessions struct {
	Ended int `json:"ended"`
}

// ChangePassword asks for a new password. Addition.
type ChangePassword struct {
	Old string `json:"old" jsonschema:"required"`
	New string `json:"new" jsonschema:"required"`
}

// AuditEntry is one line of who did what. Addition.
type AuditEntry struct {
	At       string `json:"at"`
	UserID   string `json:"userId,omitempty"`
	UserName string `json:"userName,omitempty"`
	// Via is what signed them in: session, browser, token, link, provider,
	// single-user, or host for labd's own commands.
	Via     string `json:"via"`
	Address string `json:"address,omitempty"`
	Action  string `json:"action"`
	Target  string `json:"target,omitempty"`
	Result  string `json:"result"`
}

// Origin is where a request came from: an IP address, and the program as it
// calls itself.
type Origin struct {
	Address string `json:"address"`
	About   string `json:"about"`
}

// PendingLogin is what a person is shown before they confirm a session.
type PendingLogin struct {
	ID    string `json:"id"` // of the session
	About string `json:"about"`
	At    string `json:"at"`
}

// Join is what a person is shown who opens a link for an account.
type Join struct {
	Kind string `json:"kind"` // first, invite or password
	Name string `json:"name"` // the account's, or a proposal
	Role string `json:"role"`
	// Fixed names cannot be chosen.
	Fixed bool `json:"fixed"`
}

// Identity is somebody as an OpenID Connect provider knows them.
type Identity struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Name    string `json:"name"`            // what they like to be called; any text
	Email   string `json:"email,omitempty"` // verified by the provider
}

// SigninWays tells how browsers sign in. Addition.
type SigninWays struct {
	// SingleUser means that whoever is on labd's host is signed in already.
	SingleUser bool `json:"singleUser"`
	Passwords  bool `json:"passwords"`
	// Provider is what people call the OpenID Connect provider; "" if there is
	// none. It is visited at /auth/provider?next=PATH.
	Provider string `json:"provider,omitempty"`
}

// Signin is a name and its password. Addition.
type Signin struct {
	Name     string `json:"name" jsonschema:"required"`
	Password string `json:"password" jsonschema:"required"`
}

// LoginAnswer confirms a pending session, or denies it. Addition.
type LoginAnswer struct {
	Confirm bool `json:"confirm"`
}
