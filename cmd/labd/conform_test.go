package main

import (
	"strings"
	"testing"
)

func TestConformPlays(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		c.signedIn()
		id := strings.TrimSpace(c.must("playground", "start", "docker", "-q"))
		t.Log(id)
		t.Log(c.must("ssh", id, "--", "echo hello; hostname; pwd"))
		c.must("playground", "destroy", id)
	})
}
