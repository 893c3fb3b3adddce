package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const oneMachine = `kind: playground
title: A title
playground:
  machines:
    - name: one
      users: [{name: root}]
      drives: [{source: debian-12, mount: /}]
      network: {interfaces: [{network: local}]}
`

func TestManifestOffline(t *testing.T) {
	dir := t.TempDir()
	write := func(name, body string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yaml", oneMachine)
	bad := write("bad.yaml", strings.Replace(oneMachine, "network: local", "network: nowhere", 1))
	course := write("course.yaml", strings.Replace(oneMachine, "kind: playground", "kind: course", 1))
	lost := write("lost.yaml", "base: nosuch\n"+oneMachine)
	lostBad := write("lost-bad.yaml", "base: nosuch\n"+strings.Replace(oneMachine, "A title", "A", 1))
	choice := write("choice.yaml", oneMachine+`  initConditions: {values: [{key: os, options: [a, b]}]}
  initTasks: {only-a: {run: x, conditions: [{key: os, value: a}]}}
`)
	for _, c := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{"validate", good}, 0, "", ""},
		{[]string{"validate", good, bad}, 2, "", `playground.machines[0].network.interfaces[0].network: `},
		{[]string{"validate", "-o", "yaml", good}, 0, "subnet: 172.16.0.0/24", ""},
		{[]string{"validate", "-o", "json", good}, 0, `"size": "10GiB"`, ""},
		{[]string{"validate", "-o", "yaml", good, good}, 0, "\n---\nkind: playground", ""},
		{[]string{"validate", "-o", "yaml", "-"}, 0, "subnet: 172.16.0.0/24", ""},
		{[]string{"validate", course}, 2, "", `course.yaml:1:7: kind: "course" is not a kind this reads; write "kind: playground"`},
		{[]string{"validate", lostBad}, 2, "", "title: has 1 character"},
		{[]string{"schema"}, 0, `"$schema": "https://json-schema.org/draft/2020-12/schema"`, ""},
		{[]string{"plan", choice}, 2, "", `initConditions.os: missing; options are a, b`},
		{[]string{"plan", "-i", "os=c", choice}, 2, "", `"c" is not an option`},
		{[]string{"plan", "-i", "os=a", choice}, 0, "only-a", ""},
		{[]string{"plan", "-"}, 0, "02:00:00:00:00:00  172.16.0.2/24  default via 172.16.0.1", ""},
		{[]string{"validate", lost}, 2, "", `lost.yaml:1:7: base: "nosuch" is not an official playground; known here are `},
		{[]string{"validate", filepath.Join(dir, "none.yaml")}, 1, "", "no such file"},
		{[]string{"plan", good}, 0, "eth0  local  br0  tap0", ""},
		{[]string{"plan", "-o", "json", good}, 0, `"device": "/dev/vda"`, ""},
		{[]string{"plan", bad}, 2, "", "1 problem in the manifest."},
	} {
		a := New()
		var out, err bytes.Buffer
		a.In, a.Out, a.Err = strings.NewReader(oneMachine), &out, &err
		code := a.Run(t.Context(), append([]string{"manifest"}, c.args...))
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(err.String(), c.err) {
			t.Errorf("%v: code %d, out %q, err %q", c.args, code, &out, &err)
		}
		if code != 0 && out.Len() > 0 {
			t.Errorf("%v: printed %q though it failed", c.args, &out)
		}
	}
}
