package main

import (
	"strings"
	"testing"

	"sandlot/internal/oidc"
)

// Whoever reaches a labd without logins is the administrator, so nobody else
// may reach it.
func TestSingleUserModeNeedsLoopback(t *testing.T) {
	for _, c := range []struct {
		listen, public string
		ok             bool
	}{
		{"127.0.0.1:8484", "", true},
		{"127.8.9.1:1", "", true},
		{"[::1]:8484", "", true},
		{"localhost:8484", "http://localhost:8484", true},
		{":8484", "", false},
		{"0.0.0.0:8484", "", false},
		{"[::]:8484", "", false},
		{"192.0.2.1:8484", "", false},
		{"localhost.example.org:8484", "", false},
		{"127.0.0.1.example.org:8484", "", false},
		{"127.0.0.1:8484", "https://labs.example.org", false},
	} {
		err := (&signIn{singleUser: true}).check(c.listen, c.public)
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "would be the administrator") {
			t.Errorf("%+v: %v", c, err)
		}
		if err := (&signIn{}).check(c.listen, c.public); err != nil {
			t.Errorf("with logins: %v", err)
		}
	}
}

func TestSignInSettings(t *testing.T) {
	for want, s := range map[string]signIn{
		"without --oidc-issuer":          {oidc: oidc.Config{ClientID: "x"}},
		`--trusted-proxy "proxy.local":`: {proxies: []string{"127.0.0.1", "proxy.local"}},
		`--trusted-proxy "10.0.0.0/99":`: {proxies: []string{"10.0.0.0/99"}},
	} {
		if err := s.check("127.0.0.1:1", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s := signIn{proxies: []string{"127.0.0.1", "10.1.2.3/8", "::ffff:192.0.2.1", "2001:db8::/32"}}
	if err := s.check("127.0.0.1:1", ""); err != nil {
		t.Error(err)
	}
	got := ""
	for _, p := range s.trustedProxies() {
		got += p.String() + " "
	}
	if got != "127.0.0.1/32 10.0.0.0/8 192.0.2.1/32 2001:db8::/32 " {
		t.Error(got)
	}
}
