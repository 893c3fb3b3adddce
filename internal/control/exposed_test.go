package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/play"
	"sandlot/internal/store"
)

// started starts a play with one machine, "hello".
func (l *lab) started(t *testing.T) play.ID {
	t.Helper()
	p, err := l.Start(t.Context(), admin, hello("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	return play.ID(p.ID)
}

func TestExposing(t *testing.T) {
	l := newLab(t)
	id := l.started(t)
	ctx := t.Context()
	first, err := l.ExposePort(ctx, admin, id, api.Port{Number: 80})
	if err != nil || first.Machine != "hello" || first.Access != "private" || first.PlayID != string(id) || len(first.ID) != 24 {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := l.ExposePort(ctx, admin, id, api.Port{Machine: "hello", Number: 80, Access: "private"}); err != nil || again != first {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	l.clock = l.clock.Add(time.Second)
	second, err := l.ExposePort(ctx, admin, id, api.Port{Number: 80, Access: "public", TLS: true, HostRewrite: "localhost:80", PathRewrite: "/app?x=%20"})
	if err != nil || second.ID == first.ID || !second.TLS {
		t.Fatalf("%+v, %v", second, err)
	}
	shell, err := l.ExposeShell(ctx, admin, id, api.Shell{Access: "public"})
	if err != nil || shell.User != "laborant" || shell.Machine != "hello" {
		t.Fatalf("%+v, %v", shell, err)
	}
	if ports, err := l.Ports(ctx, admin, id); err != nil || !slices.Equal(ports, []api.Port{first, second}) {
		t.Errorf("%+v, %v", ports, err)
	}
	if shells, err := l.Shells(ctx, admin, id); err != nil || !slices.Equal(shells, []api.Shell{shell}) {
		t.Errorf("%+v, %v", shells, err)
	}
	if p, err := l.ExposedPort(ctx, second.ID); err != nil || p != second {
		t.Errorf("by its id: %+v, %v", p, err)
	}
	if _, err := l.ExposedPort(ctx, shell.ID); kind(err) != api.NotFound {
		t.Errorf("a shell as a port: %v", err)
	}
	if err := l.RemovePort(ctx, admin, id, shell.ID); kind(err) != api.NotFound {
		t.Errorf("a shell removed as a port: %v", err)
	}
	if err := l.RemovePort(ctx, admin, id, first.ID); err != nil {
		t.Error(err)
	}
	if err := l.RemoveShell(ctx, admin, id, shell.ID); err != nil {
		t.Error(err)
	}

	// Others know of nothing.
	stranger := api.Me{ID: "stranger"}
	_, err1 := l.Ports(ctx, stranger, id)
	_, err2 := l.ExposePort(ctx, stranger, id, api.Port{Number: 1})
	_, err3 := l.Shells(ctx, stranger, id)
	_, err4 := l.ExposeShell(ctx, stranger, id, api.Shell{})
	_, err5 := l.PortForwards(ctx, stranger, id)
	for _, err := range []error{
		err1, err2, err3, err4, err5, l.RemovePort(ctx, stranger, id, second.ID), l.RemoveShell(ctx, stranger, id, "x"),
		l.AddPortForward(ctx, stranger, id, api.PortForward{}), l.RemovePortForward(ctx, stranger, id, 0),
	} {
		if kind(err) != api.NotFound {
			t.Errorf("a stranger: %v", err)
		}
	}

	// The play's end is theirs.
	l.bender.plays[id] = bender.Record{Plan: l.bender.plays[id].Plan, Machines: l.bender.plays[id].Machines, Events: []play.StateEvent{{State: play.Destroying}}}
	if _, err := l.ExposedPort(ctx, second.ID); kind(err) != api.NotFound {
		t.Errorf("while it is destroyed: %v", err)
	}
	if _, err := l.ExposePort(ctx, admin, id, api.Port{Number: 81}); kind(err) != api.Gone {
		t.Errorf("exposing then: %v", err)
	}
	if ports, err := l.Ports(ctx, admin, id); err != nil || len(ports) != 0 {
		t.Errorf("listing then: %v, %v", ports, err)
	}
	if err := l.store.DeletePlay(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.Exposed(ctx, second.ID); err != store.ErrNotFound {
		t.Errorf("a row outlived its play: %v", err)
	}
}

func TestExposingRefuses(t *testing.T) {
	l := newLab(t)
	id := l.started(t)
	for _, p := range []api.Port{
		{Number: 0}, {Number: -1}, {Number: 65536}, {Number: 80, Access: "secret"},
		{Number: 80, HostRewrite: "a b"}, {Number: 80, HostRewrite: "a\r\nX: y"}, {Number: 80, HostRewrite: "a/b"},
		{Number: 80, HostRewrite: "user@a"}, {Number: 80, HostRewrite: "a:port"}, {Number: 80, HostRewrite: "a?b"}, {Number: 80, HostRewrite: strings.Repeat("a", 300)},
		{Number: 80, PathRewrite: "../app"}, {Number: 80, PathRewrite: "/a b"}, {Number: 80, PathRewrite: "/a\r\nX: y"}, {Number: 80, PathRewrite: "//evil.example"},
		{Number: 80, PathRewrite: "http://evil.example"}, {Number: 80, PathRewrite: "/../x"}, {Number: 80, PathRewrite: "/%2e%2e/x"}, {Number: 80, PathRewrite: "/a%0d%0a"},
		{Number: 80, PathRewrite: "/a#b"}, {Number: 80, PathRewrite: `/\evil.example`}, {Number: 80, PathRewrite: "/%zz"}, {Number: 80, PathRewrite: "/" + strings.Repeat("a", 2000)},
	} {
		if got, err := l.ExposePort(t.Context(), admin, id, p); kind(err) != api.Invalid || len(err.Error()) > 300 {
			t.Errorf("%+v: %+v, %v", p, got, err)
		}
	}
	plain, err := l.ExposePort(t.Context(), admin, id, api.Port{Number: 80, PathRewrite: "app"})
	if err != nil || plain.PathRewrite != "/app" {
		t.Errorf("a path without its slash: %+v, %v", plain, err)
	}
	if err := l.RemovePort(t.Context(), admin, id, plain.ID); err != nil {
		t.Fatal(err)
	}
	for _, s := range []api.Shell{{User: "a b"}, {User: "a\n"}, {User: strings.Repeat("a", 33)}, {Access: "x"}} {
		if _, err := l.ExposeShell(t.Context(), admin, id, s); kind(err) != api.Invalid {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if _, err := l.ExposePort(t.Context(), admin, id, api.Port{Machine: "nosuch", Number: 80}); kind(err) != api.NotFound || !strings.Contains(err.Error(), "hello") {
		t.Errorf("unknown machine: %v", err)
	}
	for n := 1; ; n++ {
		_, err := l.ExposePort(t.Context(), admin, id, api.Port{Number: n})
		if n <= 64 && err != nil || n == 65 && kind(err) != api.TooMany {
			t.Fatalf("port %d: %v", n, err)
		}
		if n == 65 {
			break
		}
	}
}

func TestPortForwardsAreKept(t *testing.T) {
	l := newLab(t)
	id := l.started(t)
	ctx := t.Context()
	add := func(f api.PortForward) {
		t.Helper()
		if err := l.AddPortForward(ctx, admin, id, f); err != nil {
			t.Fatal(err)
		}
	}
	web := api.PortForward{Kind: "local", Machine: "hello", LocalPort: 8080, RemotePort: 80}
	back := api.PortForward{Kind: "remote", Machine: "hello", RemoteHost: "0.0.0.0", RemotePort: 9000, LocalHost: "127.0.0.1", LocalPort: 4000}
	add(web)
	add(back)
	add(web)
	add(api.PortForward{Kind: "local", LocalHost: "127.0.0.1", LocalPort: 41000, RemotePort: 22})
	add(api.PortForward{Kind: "local", LocalHost: "127.0.0.1", LocalPort: 42000, RemotePort: 22})
	want := []api.PortForward{web, back, {Kind: "local", Machine: "hello", LocalHost: "127.0.0.1", LocalPort: 42000, RemotePort: 22}}
	if list, err := l.PortForwards(ctx, admin, id); err != nil || !slices.Equal(list, want) {
		t.Errorf("%+v, %v", list, err)
	}
	if err := l.RemovePortForward(ctx, admin, id, 3); kind(err) != api.NotFound {
		t.Errorf("index 3: %v", err)
	}
	if err := l.RemovePortForward(ctx, admin, id, 0); err != nil {
		t.Fatal(err)
	}
	if list, err := l.PortForwards(ctx, admin, id); err != nil || !slices.Equal(list, want[1:]) {
		t.Errorf("%+v, %v", list, err)
	}
	for _, f := range []api.PortForward{
		{Kind: "x", RemotePort: 1}, {Kind: "local"}, {Kind: "local", RemotePort: 70000}, {Kind: "local", RemotePort: 1, LocalPort: -1},
		{Kind: "local", RemotePort: 1, RemoteHost: "a b"}, {Kind: "local", RemotePort: 1, LocalHost: "a\n"},
	} {
		if err := l.AddPortForward(ctx, admin, id, f); kind(err) != api.Invalid {
			t.Errorf("%+v: %v", f, err)
		}
	}
	for n := 1; n <= 62; n++ {
		add(api.PortForward{Kind: "local", RemotePort: 1000 + n, RemoteHost: fmt.Sprintf("10.0.0.%d", n)})
	}
	if err := l.AddPortForward(ctx, admin, id, api.PortForward{Kind: "local", RemotePort: 5}); kind(err) != api.TooMany {
		t.Errorf("number 65: %v", err)
	}
}

func TestPortForwardsOfThePlaygroundComeFirst(t *testing.T) {
	l := newLab(t)
	spec := api.CreatePlayground{Name: "with-forwards", Base: "flexbox", PlaygroundSpec: api.PlaygroundSpec{
		Title: "With forwards", Machines: hello("debian-12").Machines,
		AccessControl: &api.AccessControl{CanList: []string{"owner"}, CanRead: []string{"owner"}, CanStart: []string{"owner"}},
		PortForwards:  []api.PortForward{{Kind: "local", Machine: "hello", LocalPort: 8080, RemotePort: 80}},
	}}
	pg, err := l.CreatePlayground(t.Context(), admin, spec)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Start(t.Context(), admin, api.StartPlay{Playground: pg.Name})
	if err != nil {
		t.Fatal(err)
	}
	id := play.ID(p.ID)
	if list, err := l.PortForwards(t.Context(), admin, id); err != nil || !slices.Equal(list, spec.PortForwards) {
		t.Fatalf("%+v, %v", list, err)
	}
	// What came from the playground can be removed, and stays so.
	for range 2 {
		_ = l.RemovePortForward(t.Context(), admin, id, 0)
		if list, err := l.PortForwards(t.Context(), admin, id); err != nil || len(list) != 0 {
			t.Fatalf("%+v, %v", list, err)
		}
	}
}
