package control_test

import (
	"slices"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/play"
	"sandlot/playgrounds"
)

func TestWhoMayDoWhat(t *testing.T) {
	l := newLab(t)
	bob := l.another(t, "bob")
	list := func(principals ...string) []string { return principals }
	tests := []struct {
		name   string
		lists  api.AccessControl
		can    string // of list, read, start, for bob
		plain  api.Kind
		whole  api.Kind
		start  api.Kind
		change api.Kind
	}{
		{"private", api.AccessControl{CanList: list("owner"), CanRead: list("owner"), CanStart: list("owner")}, "", api.NotFound, api.NotFound, api.NotFound, api.NotFound},
		{"public", api.AccessControl{CanList: list("anyone"), CanRead: list("anyone"), CanStart: list("anyone")}, "list read start", "", "", "", api.Forbidden},
		{"authenticated", api.AccessControl{CanList: list("owner", "authenticated"), CanRead: list("authenticated"), CanStart: list("authenticated")}, "list read start", "", "", "", api.Forbidden},
		{"bob", api.AccessControl{CanList: list("user:bob"), CanRead: list("user:bob"), CanStart: list("user:bob")}, "list read start", "", "", "", api.Forbidden},
		{"not bob", api.AccessControl{CanList: list("user:bobby"), CanRead: list("user:bo"), CanStart: list("user:BOB")}, "", api.NotFound, api.NotFound, api.NotFound, api.NotFound},
		{"students", api.AccessControl{CanList: list("student:bob"), CanRead: list("student:bob"), CanStart: list("student:bob")}, "", api.NotFound, api.NotFound, api.NotFound, api.NotFound},
		{"listed only", api.AccessControl{CanList: list("anyone"), CanRead: list("owner"), CanStart: list("owner")}, "list", api.NotFound, api.NotFound, api.NotFound, api.NotFound},
		{"read only", api.AccessControl{CanList: list("owner"), CanRead: list("anyone"), CanStart: list("owner")}, "read", "", "", api.Forbidden, api.Forbidden},
		{"start only", api.AccessControl{CanList: list("owner"), CanRead: list("owner"), CanStart: list("anyone")}, "start", "", api.Forbidden, "", api.Forbidden},
		// The owner may do everything, or nobody could mend the lists.
		{"not even the owner", api.AccessControl{CanList: list("user:x"), CanRead: list("user:x"), CanStart: list("user:x")}, "", api.NotFound, api.NotFound, api.NotFound, api.NotFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			name := l.made(t, admin, test.lists)
			plain, err := l.Playground(t.Context(), bob, name, false)
			if kind(err) != test.plain {
				t.Errorf("plain: %v", err)
			}
			if may := plain.UserAccess; err == nil && (may.CanRead != strings.Contains(test.can, "read") || may.CanStart != strings.Contains(test.can, "start")) {
				t.Errorf("told %+v", may)
			}
			whole, err := l.Playground(t.Context(), bob, name, true)
			if kind(err) != test.whole {
				t.Errorf("extended: %v", err)
			}
			if plain.Machines != nil && (plain.Machines[0].StartupFiles != nil) != strings.Contains(test.can, "read") {
				t.Errorf("shows the startup files %v", plain.Machines[0].StartupFiles)
			}
			if err == nil && len(whole.Networks) != 1 || !strings.Contains(test.can, "read") && len(plain.Networks) != 0 {
				t.Errorf("shows %+v and %+v", plain, whole)
			}
			_, err = l.Start(t.Context(), bob, api.StartPlay{Playground: name, SafetyDisclaimerConsent: true})
			if kind(err) != test.start {
				t.Errorf("start: %v", err)
			}
			if _, err := l.Start(t.Context(), bob, api.StartPlay{Playground: name}); err == nil || test.start == "" && !strings.Contains(err.Error(), "--safety-disclaimer-consent") {
				t.Errorf("start without consent: %v", err)
			}
			if strings.Contains(test.can, "start") {
				// start --backend sends the machines of the plain form back.
				backend := api.StartPlay{Playground: name, SafetyDisclaimerConsent: true, Machines: plain.Machines}
				backend.Machines[0].Backend = "qemu"
				p, err := l.Start(t.Context(), bob, backend)
				if err != nil || len(l.bender.plays[play.ID(p.ID)].Plan.Machines[0].StartupFiles) != 1 {
					t.Errorf("start with another backend: %v", err)
				}
			}
			if _, err := l.UpdatePlayground(t.Context(), bob, name, api.PlaygroundSpec{}); kind(err) != test.change {
				t.Errorf("update: %v", err)
			}
			if err := l.RemovePlayground(t.Context(), bob, name); kind(err) != test.change {
				t.Errorf("remove: %v", err)
			}
			derived := mine()
			derived.Base = name
			if _, err := l.CreatePlayground(t.Context(), bob, derived); kind(err) != test.whole {
				t.Errorf("derive: %v", err)
			}
			community, err := l.catalog(t, bob, "community")
			if got := slices.ContainsFunc(community, func(pg api.Playground) bool { return pg.Name == name }); err != nil || got != strings.Contains(test.can, "list") {
				t.Errorf("listed: %v, %v", got, err)
			}
			// And the owner.
			if _, err := l.Playground(t.Context(), admin, name, true); err != nil {
				t.Error(err)
			}
			if _, err := l.Start(t.Context(), admin, api.StartPlay{Playground: name}); err != nil {
				t.Error(err)
			}
			if err := l.RemovePlayground(t.Context(), admin, name); err != nil {
				t.Error(err)
			}
			if _, err := l.Playground(t.Context(), admin, name, false); kind(err) != api.NotFound {
				t.Errorf("after its end: %v", err)
			}
		})
	}
}

func TestOfficialPlaygroundsStay(t *testing.T) {
	l := newLab(t)
	for _, name := range playgrounds.Names() {
		if err := l.RemovePlayground(t.Context(), admin, name); kind(err) != api.Forbidden || !strings.Contains(err.Error(), "--base "+name) {
			t.Errorf("remove: %v", err)
		}
		if _, err := l.UpdatePlayground(t.Context(), admin, name, api.PlaygroundSpec{}); kind(err) != api.Forbidden {
			t.Errorf("update: %v", err)
		}
		if pg, err := l.Playground(t.Context(), admin, name, false); err != nil || pg.Owner != "" || pg.Name != name {
			t.Errorf("got %+v, %v", pg, err)
		}
	}
}
