package oidc

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth2-proxy/mockoidc"

	"sandlot/api"
)

// provider is a real one, in this process, and a client of it.
func provider(t *testing.T, allow ...string) (*mockoidc.MockOIDC, *Provider) {
	t.Helper()
	m, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown() })
	p, err := New(Config{Issuer: m.Issuer(), ClientID: m.ClientID, ClientSecret: m.ClientSecret, Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	return m, p
}

const redirect = "http://localhost:1/auth/provider/callback"

// visit sends a browser there and returns what comes back.
func visitProvider(t *testing.T, address string) url.Values {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	back, err := res.Location()
	if err != nil {
		t.Fatalf("%s: %v", res.Status, err)
	}
	if got := back.Scheme + "://" + back.Host + back.Path; got != redirect {
		t.Fatalf("came back to %s", got)
	}
	return back.Query()
}

func kind(err error) api.Kind {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestAVisit(t *testing.T) {
	m, p := provider(t)
	m.QueueUser(&mockoidc.MockUser{Subject: "7", PreferredUsername: "ann", Email: "ann@example.org"})
	address, state, err := p.Start(t.Context(), redirect, "/next")
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(address)
	for _, key := range []string{"state", "nonce", "code_challenge"} {
		if len(u.Query().Get(key)) < 43 {
			t.Errorf("%s is %q", key, u.Query().Get(key))
		}
	}
	if u.Query().Get("code_challenge_method") != "S256" {
		t.Error("no PKCE")
	}
	query := visitProvider(t, address)
	if query.Get("state") != state {
		t.Errorf("state %q came back as %q", state, query.Get("state"))
	}
	who, next, err := p.Finish(t.Context(), state, query)
	if err != nil || who != (api.Identity{Issuer: m.Issuer(), Subject: "7", Name: "ann"}) || next != "/next" {
		t.Fatalf("%+v, %q, %v", who, next, err)
	}
	if _, _, err := p.Finish(t.Context(), state, query); kind(err) != api.Gone {
		t.Errorf("twice: %v", err)
	}
}

// Codes and states of one visit are no good in another.
func TestMixedVisits(t *testing.T) {
	_, p := provider(t)
	first, state1, _ := p.Start(t.Context(), redirect, "")
	_, state2, _ := p.Start(t.Context(), redirect, "")
	query := visitProvider(t, first)
	if _, _, err := p.Finish(t.Context(), state2, query); kind(err) != api.Forbidden {
		t.Errorf("another visit's code: %v", err) // PKCE and nonce are state1's
	}
	if _, _, err := p.Finish(t.Context(), state1, url.Values{"code": {"made up"}}); kind(err) != api.Forbidden {
		t.Errorf("a wrong code: %v", err)
	}
	if _, _, err := p.Finish(t.Context(), "made up", query); kind(err) != api.Gone {
		t.Errorf("a wrong state: %v", err)
	}
	_, state, _ := p.Start(t.Context(), redirect, "")
	if _, _, err := p.Finish(t.Context(), state, url.Values{"error": {"access_denied\r\nSet-Cookie: x"}}); kind(err) != api.Forbidden || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("refused there: %v", err)
	}
}

// A token that was made for another visit is refused by its nonce.
func TestTokensOfOtherVisits(t *testing.T) {
	_, p := provider(t)
	address, state, _ := p.Start(t.Context(), redirect, "")
	query := visitProvider(t, address)
	v, _ := p.visits.Get(state)
	v.nonce = "another"
	p.visits.Add(state, v)
	if _, _, err := p.Finish(t.Context(), state, query); kind(err) != api.Forbidden || !strings.Contains(err.Error(), "another login") {
		t.Errorf("%v", err)
	}
}

func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		list   []string
		claims claims
		want   bool
	}{
		{nil, claims{}, true},
		{[]string{"@example.org"}, claims{Email: "Ann@Example.org", Verified: true}, true},
		{[]string{"@example.org"}, claims{Email: "ann@example.org"}, false},
		{[]string{"@example.org"}, claims{Email: "ann@evil-example.org", Verified: true}, false},
		{[]string{"@example.org"}, claims{Email: "@example.org", Verified: true}, false},
		{[]string{"ann@example.org"}, claims{Email: "ann@example.org", Verified: true}, true},
		{[]string{"ann@example.org"}, claims{Email: "bob@example.org", Verified: true}, false},
		{[]string{"@example.org"}, claims{Verified: true}, false},
	} {
		if got := allowed(c.list, c.claims); got != c.want {
			t.Errorf("%v %+v: %v", c.list, c.claims, got)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{
		{Issuer: "", ClientID: "x"}, {Issuer: "id.example.org", ClientID: "x"}, {Issuer: "https://id.example.org"},
		{Issuer: "http://id.example.org", ClientID: "x"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is fine", c)
		}
	}
	p, err := New(Config{Issuer: "http://127.0.0.1:1", ClientID: "x"})
	if err != nil || p.Name() != "127.0.0.1" {
		t.Fatal(err)
	}
	if _, _, err := p.Start(t.Context(), redirect, ""); kind(err) != api.Unreachable {
		t.Errorf("a provider that is down: %v", err)
	}
}

// An address that the provider has not looked at, or that is none, is nobody's.
func TestAddress(t *testing.T) {
	for want, c := range map[string]claims{
		"ann@example.org": {Email: "ann@example.org", Verified: true},
		"":                {Email: "ann@example.org"},
	} {
		if got := c.address(); got != want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	for _, email := range []string{"a\nb@example.org", "\x1b[31m@example.org", strings.Repeat("a", 255) + "@example.org"} {
		if got := (claims{Email: email, Verified: true}).address(); got != "" {
			t.Errorf("%q is an address", got)
		}
	}
}
