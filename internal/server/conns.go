package server

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/internal/play"
)

// connTTL is how long a connection's URL is good: clients dial it again after
// a failed handshake, over minutes.
const connTTL = time.Hour

// jobsTTL is connTTL for jobs, whose one client asks anew before it dials.
const jobsTTL = time.Minute

// conn is what a connection's ticket opens: a play, or all jobs.
type conn struct {
	user api.Me
	jobs bool
}

func openConn(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	if _, err := s.Plays.Get(c.Context(), c.user, id); err != nil {
		return nil, err
	}
	return s.issue(c, id, conn{user: c.user}, connTTL)
}

// openJobs is openConn for jobs, which are nobody's play.
func openJobs(s *Server, c *call) (any, error) {
	if _, err := s.admin(); err != nil {
		return nil, err
	}
	return s.issue(c, "", conn{user: c.user, jobs: true}, jobsTTL)
}

// issue names the URL at which a connection is served; id is its play's, if it
// has one.
func (s *Server) issue(c *call, id play.ID, held conn, ttl time.Duration) (any, error) {
	token, err := s.conns.Issue(id, held, ttl)
	if err != nil {
		return nil, err
	}
	return api.Conn{URL: s.base(c, "ws") + "/conns/" + token}, nil
}

// serveConn sends what happens to a play, or to jobs, to a client that does
// nothing but read.
func serveConn(s *Server, w http.ResponseWriter, c *call) error {
	held, id, ok := s.conns.Look(c.PathValue("token"))
	if !ok {
		return api.Errorf(api.Unauthenticated, "this connection's URL is not valid any more")
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	follow := s.followJobs
	if !held.jobs {
		snapshots, err := s.Plays.Watch(ctx, held.user, id)
		if err != nil {
			return err
		}
		follow = func(ctx, gone context.Context, ws *websocket.Conn) (websocket.StatusCode, string) {
			return s.follow(ctx, gone, ws, snapshots)
		}
	}
	// The reference client sends "https://cli.http://…" as origin; the token
	// in the URL is the credential, so the origin proves nothing anyway.
	ws, err := websocket.Accept(w, c.Request, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil // Accept has answered
	}
	defer ws.CloseNow()
	gone := ws.CloseRead(context.WithoutCancel(ctx))
	go s.pulse(gone, ws)
	status, reason := follow(ctx, gone, ws)
	ws.Close(status, reason)
	return nil
}

// maxSilence is how many pings in a row a client may leave without an answer.
const maxSilence = 3

// pulse ends a connection whose client does not answer: what is written
// vanishes in buffers for hours if nobody reads.
func (s *Server) pulse(gone context.Context, ws *websocket.Conn) {
	pings := time.NewTicker(s.PingEvery)
	defer pings.Stop()
	for silence := 0; silence < maxSilence; {
		select {
		case <-gone.Done():
			return
		case <-pings.C:
		}
		ctx, cancel := context.WithTimeout(gone, s.PingEvery)
		if ws.Ping(ctx) == nil {
			silence = 0
		} else {
			silence++
		}
		cancel()
	}
	ws.CloseNow()
}

// follow sends a play's status and tasks: everything on connect, then what
// changes, and the status again every few seconds because clients only look
// when a message comes. It closes with 1000 when nothing more will happen, so
// that a waiting client fails early.
func (s *Server) follow(ctx, gone context.Context, ws *websocket.Conn, snapshots <-chan api.Play) (websocket.StatusCode, string) {
	repeat := time.NewTicker(s.StatusEvery)
	defer repeat.Stop()
	var last *api.PlayStatus
	sent := map[string]api.PlayTask{}
	for {
		select {
		case <-gone.Done():
			return websocket.StatusNormalClosure, ""
		case <-ctx.Done():
			return websocket.StatusGoingAway, "labd is shutting down"
		case p, more := <-snapshots:
			if !more {
				if ctx.Err() != nil {
					return websocket.StatusGoingAway, "labd is shutting down"
				}
				return websocket.StatusNormalClosure, "the play ended"
			}
			if last = p.Status; send(gone, ws, messages(p, sent)...) != nil {
				return websocket.StatusNormalClosure, ""
			}
			if over(p) {
				return websocket.StatusNormalClosure, "the play is " + p.State()
			}
		case <-repeat.C:
			if last != nil && send(gone, ws, api.ConnMessage{Kind: api.KindStatus, Status: last}) != nil {
				return websocket.StatusNormalClosure, ""
			}
		}
	}
}

const (
	// jobsEvery is the least time from one telling of jobs to the next: builds
	// write faster than anybody reads.
	jobsEvery = 250 * time.Millisecond
	// jobsLife is how long an administrator is told of jobs before they have to
	// ask again, and show that they still are one.
	jobsLife = 10 * time.Minute
)

// followJobs sends all jobs on connect, in one message, then those that change,
// the oldest first.
func (s *Server) followJobs(ctx, gone context.Context, ws *websocket.Conn) (websocket.StatusCode, string) {
	lists := s.Administration.WatchJobs(ctx)
	end := time.NewTimer(jobsLife)
	defer end.Stop()
	var sent map[string]api.Job // nil until all have been
	next, again := lists, (<-chan time.Time)(nil)
	for {
		select {
		case <-gone.Done():
			return websocket.StatusNormalClosure, ""
		case <-ctx.Done():
			return websocket.StatusGoingAway, "labd is shutting down"
		case <-end.C:
			return websocket.StatusGoingAway, "ask again"
		case <-again:
			next, again = lists, nil
		case list := <-next:
			changes := jobMessages(list, sent)
			if sent == nil {
				changes = []api.ConnMessage{{Kind: api.KindJobs, Jobs: list}}
				sent = map[string]api.Job{}
			}
			if send(gone, ws, changes...) != nil {
				return websocket.StatusNormalClosure, ""
			}
			for _, job := range list {
				sent[job.ID] = job
			}
			next, again = nil, time.After(jobsEvery)
		}
	}
}

// jobMessages are the jobs that differ from what was sent.
func jobMessages(list []api.Job, sent map[string]api.Job) (out []api.ConnMessage) {
	for _, job := range slices.Backward(list) {
		if !reflect.DeepEqual(sent[job.ID], job) {
			out = append(out, api.ConnMessage{Kind: api.KindJob, Job: &job})
		}
	}
	return out
}

// messages are the status and every task that differs from what was sent.
func messages(p api.Play, sent map[string]api.PlayTask) []api.ConnMessage {
	out := []api.ConnMessage{{Kind: api.KindStatus, Status: p.Status}}
	for _, name := range slices.Sorted(maps.Keys(p.Tasks)) {
		task := p.Tasks[name]
		if before, ok := sent[name]; ok && before == task {
			continue
		}
		sent[name] = task
		out = append(out, api.ConnMessage{Kind: api.KindTask, Task: &task})
	}
	return out
}

func over(p api.Play) bool {
	state := play.State(p.State())
	return state == play.Failed || (state != "" && !state.Active())
}

// writeTimeout bounds one message; a client that does not read for so long is
// gone.
const writeTimeout = 30 * time.Second

func send(ctx context.Context, ws *websocket.Conn, msgs ...api.ConnMessage) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for _, m := range msgs {
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := ws.Write(ctx, websocket.MessageText, body); err != nil {
			return err
		}
	}
	return nil
}
