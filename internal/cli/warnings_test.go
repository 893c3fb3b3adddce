package cli

import (
	"slices"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/manifest"
)

// What labd warns of is not said twice, and has its place in the file.
func TestUnsaid(t *testing.T) {
	m, problems := manifest.Parse("lab.yaml", []byte(strings.Replace(oneMachine, "mount: /", "mount: /, readOnly: true", 1)))
	if len(problems) != 1 {
		t.Fatal(problems)
	}
	found := []api.Problem{
		{Path: problems[0].Path, Message: problems[0].Message, Fix: problems[0].Fix},
		{Path: "playground.machines[0].name", Message: "is odd", Fix: "change it"},
	}
	if got, want := unsaid(m, found), []string{"lab.yaml:5:13: warning: playground.machines[0].name: is odd; change it"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := unsaid(nil, found); len(got) != 2 || got[1] != "playground.machines[0].name: is odd (change it)" {
		t.Errorf("without a file: %q", got)
	}
}

func TestWarnings(t *testing.T) {
	p := api.Play{Status: &api.PlayStatus{Machines: []api.MachineStatus{
		{Name: "web", Conditions: []api.Condition{
			{Name: "Volume", Status: api.True, Message: "from the pool"},
			{Name: "Boot", Status: api.True, Message: "cannot write users: no such\n\x1b[2Jcannot mount /dev/vdb"}}},
		{Name: "db", Conditions: []api.Condition{{Name: "Boot", Status: api.False, Message: "wait"}}},
		{Name: "quiet", Conditions: []api.Condition{{Name: "Boot", Status: api.True}}},
	}}}
	want := []string{"warning: machine web: cannot write users: no such", "warning: machine web: [2Jcannot mount /dev/vdb"}
	if got := warnings(p); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := warnings(api.Play{}); got != nil {
		t.Errorf("got %q", got)
	}
}
