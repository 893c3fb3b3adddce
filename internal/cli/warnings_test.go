package cli

import (
	"slices"
	"testing"

	"sandlot/api"
)

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
