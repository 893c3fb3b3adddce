package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/control"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/server"
)

// guarded is a shelf for many at once.
type guarded struct {
	shelf
	mu *sync.Mutex
}

func (g guarded) Start(ctx context.Context, p plan.Plan, s bender.Secrets) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shelf.Start(ctx, p, s)
}

func (g guarded) Status(id play.ID) (bender.Record, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shelf.Status(id)
}

// A hundred starts and restarts at the same time, over HTTP and with the real
// store, run as many plays as the plan allows and not one more.
func TestAHundredStartsAtOnceStayWithinThePlan(t *testing.T) {
	s := newSite(t, func(o *server.Options) {
		c := realControl(t, o, guarded{shelf{}, new(sync.Mutex)}, control.PaidPlan)
		o.Playgrounds, o.Plays, o.Lifecycle, o.Settings, o.Machines, o.Budgets, o.Saver = c, c, c, c, c, c, c
	})
	ann := s.add(t, "ann")
	session, err := s.people.NewUserSession(t.Context(), ann, api.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	send := func(method, path, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			return 0, err.Error()
		}
		req.Header.Set("Authorization", basic(session.ID, session.AccessToken))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return 0, err.Error()
		}
		return res.StatusCode, string(text)
	}
	raw, err := json.Marshal(api.StartPlay{Playground: "flexbox", Machines: machines()})
	if err != nil {
		t.Fatal(err)
	}
	start := string(raw)
	limit := control.DefaultPlans()[control.PaidPlan].Plays
	// Stopped plays, whose restarts count as well.
	var stopped []string
	for range 4 {
		var p api.Play
		if code, text := send("POST", "/api/plays", start); code != 200 || json.Unmarshal([]byte(text), &p) != nil {
			t.Fatalf("%d %s", code, text)
		}
		if code, text := send("POST", "/api/plays/"+p.ID+"/actions", `{"action":"stop"}`); code != 200 {
			t.Fatalf("%d %s", code, text)
		}
		stopped = append(stopped, p.ID)
	}
	var mu sync.Mutex
	counts := map[int]int{}
	var all sync.WaitGroup
	gate := make(chan struct{})
	for i := range 100 {
		all.Go(func() {
			<-gate
			path, body := "/api/plays", start
			if i%10 == 0 && i/10 < len(stopped) {
				path, body = "/api/plays/"+stopped[i/10]+"/actions", `{"action":"restart"}`
			}
			code, text := send("POST", path, body)
			if code == 403 && !strings.Contains(text, fmt.Sprintf(`%d of yours run, and your plan "paid" allows %d at once`, limit, limit)) {
				t.Errorf("%d %s", code, text)
			}
			mu.Lock()
			defer mu.Unlock()
			counts[code]++
		})
	}
	close(gate)
	all.Wait()
	if counts[200] != limit || counts[403] != 100-limit {
		t.Errorf("answers %v, want %d times 200 and 403 else", counts, limit)
	}
	var p api.UserPlan
	if code, text := send("GET", "/api/account/plan", ""); code != 200 || json.Unmarshal([]byte(text), &p) != nil || p.Use.Plays != limit {
		t.Errorf("%d %s", code, text)
	}
}
