package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"sandlot/api"
)

// login says where a person wants to be: empty fields mean the first machine
// and its default user.
type login struct{ machine, user string }

// resolve returns the machine and user of a play, or an error that lists what
// there is.
func (l login) resolve(p api.Play) (api.Machine, string, error) {
	var names []string
	for _, m := range p.Machines {
		if l.machine != "" && m.Name != l.machine {
			names = append(names, m.Name)
			continue
		}
		user := l.user
		if user == "" {
			user = m.DefaultUser()
		}
		known := user == "root"
		users := []string{"root"}
		for _, u := range m.Users {
			known = known || u.Name == user
			if u.Name != "root" {
				users = append(users, u.Name)
			}
		}
		if !known {
			return m, "", fmt.Errorf("machine %q has no user %q; it has %s", m.Name, user, strings.Join(users, ", "))
		}
		return m, user, nil
	}
	if len(names) == 0 {
		return api.Machine{}, "", fmt.Errorf("play %s has no machines", p.ID)
	}
	return api.Machine{}, "", fmt.Errorf("play %s has no machine %q; it has %s", p.ID, l.machine, strings.Join(names, ", "))
}

// First hint after 10 s of waiting, then one every 30 s.
const (
	firstHint = 10 * time.Second
	laterHint = 30 * time.Second
)

// hint tells a person that a machine is still starting until stop is called.
func (a *App) hint(machine string) (stop func()) {
	text := "Waiting for machine " + machine + " to start"
	if _, ok := terminalOf(a.Err); ok {
		return a.spin(text)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		timer := time.NewTimer(firstHint)
		defer timer.Stop()
		for {
			select {
			case <-done:
				return
			case <-timer.C:
				a.say(false, "%s …", text)
				timer.Reset(laterHint)
			}
		}
	})
	return func() { close(done); wg.Wait() }
}
