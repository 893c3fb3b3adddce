package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"sandlot/internal/host/layout"
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

// Links that labd user prints lead to the labd that uses the data directory,
// however that was told where to listen.
func TestLinksLeadToLabd(t *testing.T) {
	l := layout.Layout{Root: t.TempDir()}
	t.Setenv("LABD_LISTEN", "127.0.0.1:7777")
	links := func(args ...string) string {
		t.Helper()
		var out strings.Builder
		cmd := userCommand(&l)
		cmd.SetArgs(args)
		cmd.SetOut(&out)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		root, _, _ := strings.Cut(out.String(), "/join/")
		return root
	}
	if got := links("invite"); got != "http://127.0.0.1:7777" {
		t.Errorf("before the first start: %s", got)
	}
	for want, at := range map[string]struct{ public, listens string }{
		"http://127.0.0.1:8080":        {listens: "127.0.0.1:8080"},
		"http://[::1]:8080":            {listens: "[::1]:8080"},
		"http://lab1:8080":             {listens: "[::]:8080"},
		"http://lab1:8081":             {listens: "0.0.0.0:8081"},
		"https://labs.example.org/lab": {public: "https://labs.example.org/lab/", listens: "127.0.0.1:8080"},
	} {
		addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(at.listens))
		if err := keepAddress(l, rootOf(at.public, addr, "lab1")); err != nil {
			t.Fatal(err)
		}
		if got := links("invite"); got != want {
			t.Errorf("%+v: got %s, want %s", at, got, want)
		}
	}
	if got := links("invite", "--url", "http://here"); got != "http://here" {
		t.Errorf("with --url: %s", got)
	}
}
