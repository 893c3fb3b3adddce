package netns

import (
	"net/netip"
	"testing"

	"sandlot/internal/labtest"
)

var exampleBridges = []Bridge{
	{Name: "br0", MAC: "02:00:00:00:01:01", Address: netip.MustParsePrefix("172.16.0.1/24")},
	{Name: "br1", MAC: "02:00:00:00:02:01", Address: netip.MustParsePrefix("10.0.0.254/16"), Private: true},
	{Name: "br2", MAC: "02:00:00:00:03:01", Address: netip.MustParsePrefix("192.168.7.1/29")},
}

var exampleServices = []Service{{Proto: "tcp", Port: 443}}

func TestRules(t *testing.T) {
	labtest.Golden(t, "play.nft", PlayRules(exampleBridges, nil).String())
	labtest.Golden(t, "play-services.nft", PlayRules(exampleBridges[:1], exampleServices).String())
	labtest.Golden(t, "host.nft", HostRules("sandlot-1a2b", "sl1a2b").String())
}

func TestCheck(t *testing.T) {
	m := &Manager{Table: "sandlot-1a2b", UplinkPrefix: "sl1a2b", NSPrefix: "sandlot-1a2b-"}
	good := func() Spec {
		return Spec{
			NS:      "sandlot-1a2b-0123456789abcdef01234567",
			Uplink:  Uplink{HostLink: "sl1a2b01234567", Host: netip.MustParsePrefix("198.18.0.2/31"), Play: netip.MustParsePrefix("198.18.0.3/31")},
			Bridges: append([]Bridge(nil), exampleBridges...),
			Taps:    []Tap{{Name: "tap0", Bridge: "br0", UID: 1}},
		}
	}
	if err := m.check(good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Spec){
		"another instance's namespace": func(s *Spec) { s.NS = "sandlot-ffff-0" },
		"a path for a namespace":       func(s *Spec) { s.NS = "sandlot-1a2b-../../etc" },
		"another link":                 func(s *Spec) { s.Uplink.HostLink = "eth0" },
		"a long link":                  func(s *Spec) { s.Uplink.HostLink = "sl1a2b0123456789" },
		"no uplink addresses":          func(s *Spec) { s.Uplink.Host, s.Uplink.Play = netip.Prefix{}, netip.Prefix{} },
		"addresses of the internet": func(s *Spec) {
			s.Uplink.Host, s.Uplink.Play = netip.MustParsePrefix("8.8.8.8/31"), netip.MustParsePrefix("8.8.8.9/31")
		},
		"one address for both ends":   func(s *Spec) { s.Uplink.Play = s.Uplink.Host },
		"two plays' addresses":        func(s *Spec) { s.Uplink.Play = netip.MustParsePrefix("198.18.0.5/31") },
		"two bridges of a name":       func(s *Spec) { s.Bridges[1].Name = "br0" },
		"a bridge called uplink":      func(s *Spec) { s.Bridges[1].Name = UplinkName },
		"a bridge without a MAC":      func(s *Spec) { s.Bridges[1].MAC = "" },
		"a bridge with a group MAC":   func(s *Spec) { s.Bridges[1].MAC = "03:00:00:00:00:01" },
		"a bridge without an address": func(s *Spec) { s.Bridges[1].Address = netip.Prefix{} },
		"a tap without its bridge":    func(s *Spec) { s.Taps[0].Bridge = "br9" },
		"a tap named like a bridge":   func(s *Spec) { s.Taps[0].Name = "br0" },
		"a tap with a path":           func(s *Spec) { s.Taps[0].Name = "a/b" },
	} {
		s := good()
		spoil(&s)
		if m.check(s) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
