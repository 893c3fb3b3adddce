package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sandlot/internal/labtest"
)

// state is what a namespace looks like from inside, to compare.
func (w *world) state(ns string) string {
	var b bytes.Buffer
	w.in(ns, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			a := l.Attrs()
			addrs, err := netlink.AddrList(l, unix.AF_INET)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%d %s %s %s up=%v master=%d %v\n", a.Index, a.Name, l.Type(), a.HardwareAddr, a.Flags&net.FlagUp != 0, a.MasterIndex, addrs)
		}
		routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
		fmt.Fprintln(&b, routes)
		return err
	})
	return b.String()
}

func TestEnsureMakesWhatVMMsNeed(t *testing.T) {
	w := newWorld(t)
	s := w.play(0)
	w.in(s.NS, func() error { return asSpecified(t, s) })
}

// asSpecified compares the links of the calling thread's namespace.
func asSpecified(t *testing.T, s Spec) error {
	t.Helper()
	for _, want := range s.Bridges {
		link, err := netlink.LinkByName(want.Name)
		if err != nil {
			return err
		}
		br, ok := link.(*netlink.Bridge)
		if !ok || br.HardwareAddr.String() != want.MAC || br.Flags&net.FlagUp == 0 || *br.MulticastSnooping {
			t.Errorf("bridge %+v, want %+v up without multicast snooping", link, want)
		}
		addrs, err := netlink.AddrList(link, unix.AF_INET)
		if err != nil || len(addrs) != 1 || addrs[0].IPNet.String() != want.Address.String() {
			t.Errorf("bridge %s has %v, %v; want %s alone", want.Name, addrs, err, want.Address)
		}
	}
	for _, want := range s.Taps {
		link, err := netlink.LinkByName(want.Name)
		if err != nil {
			return err
		}
		bridge, err := netlink.LinkByName(want.Bridge)
		if err != nil {
			return err
		}
		tap := link.(*netlink.Tuntap)
		if tap.Owner != want.UID || tap.NonPersist || tap.MasterIndex != bridge.Attrs().Index || tap.Flags&netlink.TUNTAP_VNET_HDR == 0 || tap.LinkAttrs.Flags&net.FlagUp == 0 {
			t.Errorf("tap %+v, want %+v up with vnet headers", tap, want)
		}
	}
	// IPv6 stays among machines.
	addrs, err := netlink.AddrList(nil, unix.AF_INET6)
	for _, a := range addrs {
		if !a.IP.IsLoopback() {
			t.Errorf("the namespace has an IPv6 address: %s", a)
		}
	}
	return err
}

func TestEnsureAgainChangesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.play(0)
	before := w.state(s.NS)
	if err := w.Ensure(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if after := w.state(s.NS); after != before {
		t.Errorf("the second Ensure changed\n%s to\n%s", before, after)
	}
}

// TestEnsureMends: things of the same names that are not what they should be.
func TestEnsureMends(t *testing.T) {
	w := newWorld(t)
	s := w.play(0)
	good := func() {
		t.Helper()
		if err := w.Ensure(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		w.in(s.NS, func() error { return asSpecified(t, s) })
		m := w.machine(s, "br0", fmt.Sprintf("172.16.0.%d/24", 10+w.ids), "172.16.0.1")
		if !w.ping(m, internet, sure) {
			t.Fatal("no way to the internet")
		}
	}
	good()
	for name, spoil := range map[string]func() error{
		"a bridge is gone": func() error { return removeNamed("br0") },
		"a bridge is a tap": func() error {
			if err := removeNamed("br1"); err != nil {
				return err
			}
			return createTap("br1", 1)
		},
		"a tap has another owner": func() error {
			if err := removeNamed("m0e0"); err != nil {
				return err
			}
			return createTap("m0e0", 1)
		},
		"the uplink is gone": func() error { return removeNamed(UplinkName) },
		"the uplink is down": func() error { l, _ := netlink.LinkByName(UplinkName); return netlink.LinkSetDown(l) },
		"the bridge has two addresses": func() error {
			l, _ := netlink.LinkByName("br0")
			return ensureExtra(l, "172.16.0.99/24")
		},
		"the rules are gone": func() error { return apply(Ruleset{Table: playTable}) },
	} {
		if err := w.Do(s.NS, spoil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Log(name)
		good()
	}
	t.Log("the host's end belongs to a namespace that is no more")
	w.in("host", func() error { return removeNamed(s.Uplink.HostLink) })
	w.namespace("stray")
	w.join("host", s.Uplink.HostLink, "", "stray", UplinkName, "", "")
	good()
	t.Log("an empty file has the namespace's name")
	if err := w.Delete(t.Context(), s.NS, s.Uplink.HostLink); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.Path(s.NS), nil, 0); err != nil {
		t.Fatal(err)
	}
	good()
}

func TestForeignLinkIsRefused(t *testing.T) {
	w := newWorld(t)
	one, two := w.play(0), w.spec(1)
	two.Uplink.HostLink = one.Uplink.HostLink
	if err := w.Ensure(t.Context(), two); err == nil {
		t.Error("took another play's link")
	}
	if err := w.Delete(t.Context(), two.NS, two.Uplink.HostLink); err != nil {
		t.Fatal(err)
	}
	found, err := w.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Found{Namespaces: []string{one.NS}, HostLinks: []HostLink{{one.Uplink.HostLink, one.NS}}}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("found %+v, want %+v", found, want)
	}
}

// TestCrash ends Ensure before each stage; then it is either completed or
// removed, in both cases wholly.
func TestCrash(t *testing.T) {
	w := newWorld(t)
	injected := errors.New("injected")
	for i, stage := range Stages {
		s := w.spec(i)
		stop := func(at string) error {
			if at == stage {
				return injected
			}
			return nil
		}
		for range 2 {
			w.Fault = stop
			if err := w.Ensure(t.Context(), s); !errors.Is(err, injected) {
				t.Fatalf("%s: %v, want the injected fault", stage, err)
			}
			w.gone(s)

			if err := w.Ensure(t.Context(), s); !errors.Is(err, injected) {
				t.Fatalf("%s: %v, want the injected fault", stage, err)
			}
			w.Fault = nil
			if err := w.Ensure(t.Context(), s); err != nil {
				t.Fatalf("%s: cannot complete: %v", stage, err)
			}
			w.gone(s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.Fault = func(at string) error {
			if at == stage {
				cancel()
			}
			return nil
		}
		err := w.Ensure(ctx, s)
		if last := stage == Stages[len(Stages)-1]; !last && !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v, want cancelled", stage, err)
		}
		w.Fault = nil
		w.gone(s)
	}
}

// gone deletes a play, twice, and looks that nothing is left.
func (w *world) gone(s Spec) {
	w.t.Helper()
	for range 2 {
		if err := w.Delete(w.t.Context(), s.NS, s.Uplink.HostLink); err != nil {
			w.t.Fatal(err)
		}
		found, err := w.List(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(found.Namespaces)+len(found.HostLinks) != 0 {
			w.t.Fatalf("left behind: %+v", found)
		}
	}
}

// TestDeleteWhileHeld: a process that keeps the namespace alive keeps nothing
// in it.
func TestDeleteWhileHeld(t *testing.T) {
	w := newWorld(t)
	s := w.play(0)
	held, err := os.Open(w.Path(s.NS))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	w.gone(s)
	err = within(held, func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if l.Attrs().Name != "lo" {
				t.Errorf("left behind: %s", l.Attrs().Name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSpeed logs what a play's network costs; it judges nothing.
func TestSpeed(t *testing.T) {
	w := newWorld(t)
	s := w.spec(0)
	for range 3 {
		begin := time.Now()
		if err := w.Ensure(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		made := time.Now()
		if err := w.Delete(t.Context(), s.NS, s.Uplink.HostLink); err != nil {
			t.Fatal(err)
		}
		t.Logf("make %v, delete %v", made.Sub(begin), time.Since(made))
	}
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			s := w.spec(i / 2) // two callers for each play
			for range 2 {
				if err := w.Ensure(t.Context(), s); err != nil {
					t.Error(err)
				}
				if err := w.Delete(t.Context(), s.NS, s.Uplink.HostLink); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	found, err := w.List(t.Context())
	if err != nil || len(found.Namespaces)+len(found.HostLinks) != 0 {
		t.Errorf("left behind: %+v, %v", found, err)
	}
}

func TestUsedUplinks(t *testing.T) {
	w := newWorld(t)
	s := w.play(3)
	used, err := w.UsedUplinks(t.Context())
	if err != nil || len(used) != 1 || used[0] != s.Uplink.Host {
		t.Errorf("used %v, %v; want %s", used, err, s.Uplink.Host)
	}
}

func (w *world) forwarding() (value string) {
	w.t.Helper()
	w.in("host", func() error {
		b, err := os.ReadFile(forwardingPath)
		value = string(bytes.TrimSpace(b))
		return err
	})
	return value
}

// TestHostIsPutBack: the last instance to leave restores forwarding.
func TestHostIsPutBack(t *testing.T) {
	for _, was := range []string{"0", "1"} {
		w := newWorld(t)
		second := &Manager{Table: w.Table + "-b", UplinkPrefix: "slx", NSPrefix: "x", Record: w.Record, Dir: w.Dir, HostNS: w.HostNS}
		ctx := t.Context()
		check := func(err error, want string) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if got := w.forwarding(); got != want {
				t.Fatalf("ip_forward is %s, want %s", got, want)
			}
		}
		check(w.RemoveHost(ctx), "0")
		w.in("host", func() error { return setSysctls([]sysctl{{"net/ipv4/ip_forward", was}}) })
		check(w.EnsureHost(ctx), "1")
		check(w.EnsureHost(ctx), "1")
		check(second.EnsureHost(ctx), "1")
		check(w.RemoveHost(ctx), "1")
		check(w.RemoveHost(ctx), "1")
		check(second.RemoveHost(ctx), was)
		check(second.RemoveHost(ctx), was)
		if _, err := os.Stat(filepath.Dir(w.Record)); !os.IsNotExist(err) {
			t.Errorf("the record is still there: %v", err)
		}
		// A record of an earlier boot, or a damaged one, is not believed.
		for _, stale := range []string{`{"bootID":"x","ipForward":"0","tables":["t"]}`, `{"bootID":`, ""} {
			w.in("host", func() error { return setSysctls([]sysctl{{"net/ipv4/ip_forward", was}}) })
			if err := os.MkdirAll(filepath.Dir(w.Record), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(w.Record, []byte(stale), 0o644); err != nil {
				t.Fatal(err)
			}
			check(w.EnsureHost(ctx), "1")
			check(w.RemoveHost(ctx), was)
		}
		var tables []string
		w.in("host", func() (err error) { tables, err = tableNames(); return err })
		if len(tables) != 0 {
			t.Errorf("rules left behind: %v", tables)
		}
	}
}

// TestOnThisHost uses the real places once: /run/netns and the host's links.
// It loads no rules there and switches nothing.
func TestOnThisHost(t *testing.T) {
	w := newWorld(t)
	labtest.CheckLeaks(t, w.Table, w.UplinkPrefix)
	m := &Manager{Table: w.Table, UplinkPrefix: w.UplinkPrefix, NSPrefix: w.NSPrefix}
	s := w.spec(0)
	t.Cleanup(func() {
		if err := m.Delete(context.Background(), s.NS, s.Uplink.HostLink); err != nil {
			t.Error(err)
		}
	})
	before, err := labtest.Inventory(w.Table, w.UplinkPrefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Ensure(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if after, err := labtest.Inventory(w.Table, w.UplinkPrefix); err != nil || len(after) != len(before)+3 {
		t.Errorf("the leak check sees %q, %v; want a namespace, its mount and a link more than %q", after, err, before)
	}
}

// TestIPNetnsBesides: what `ip netns add` does on a host where nobody has used
// it yet leaves a play that runs removable.
func TestIPNetnsBesides(t *testing.T) {
	w := newWorld(t)
	s := w.play(0)
	err := unix.Mount("", w.Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount(w.Dir, w.Dir, "none", unix.MS_BIND|unix.MS_REC, "")
		t.Cleanup(func() { _ = unix.Unmount(w.Dir, unix.MNT_DETACH) })
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), s.NS, s.Uplink.HostLink); err != nil {
		t.Error(err)
	}
}
