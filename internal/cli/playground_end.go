package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sandlot/api"
	"sandlot/client"
	"sandlot/internal/play"
)

// endLimit bounds the wait for a play to stop or go.
const endLimit = 5 * time.Minute

// end stops or destroys a play and waits until it holds no machines.
func (a *App) end(ctx context.Context, id, action string, quiet bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	p, err := c.Act(ctx, id, api.Action{Action: action})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	stopSpinner := func() {}
	if !quiet {
		stopSpinner = a.spin(map[string]string{api.ActionStop: "Stopping play ", api.ActionDestroy: "Destroying play "}[action] + id)
	}
	defer func() { stopSpinner() }()
	over := func(p api.Play) bool {
		state := play.State(p.State())
		return state == play.Destroyed || (state == play.Stopped && action == api.ActionStop)
	}
	acting := false
	for wait := 50 * time.Millisecond; !over(p); wait = min(wait*3/2, time.Second) {
		switch play.State(p.State()) {
		case play.Stopping, play.Destroying:
			acting = true
		case play.Failed:
			if acting {
				return fmt.Errorf("cannot %s play %s: %s", action, id, lastMessage(p))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("play %s is still %s after %s: %w", id, p.State(), endLimit, ctx.Err())
		case <-time.After(wait):
		}
		next, err := c.Play(ctx, id)
		if client.StatusOf(err) == http.StatusNotFound {
			break // so much gone that labd forgot it
		}
		if err != nil {
			if ctx.Err() == nil {
				return err
			}
			continue
		}
		p = next
	}
	stopSpinner()
	stopSpinner = func() {}
	a.say(quiet, "Play %s is %s.", id, map[string]string{api.ActionStop: "stopped", api.ActionDestroy: "destroyed"}[action])
	return nil
}

// lastMessage is why a play is in its state.
func lastMessage(p api.Play) string {
	if p.Status == nil || len(p.Status.StateEvents) == 0 {
		return "no reason given"
	}
	if m := p.Status.StateEvents[len(p.Status.StateEvents)-1].Message; m != "" {
		return m
	}
	return "see labctl playground status " + p.ID
}
