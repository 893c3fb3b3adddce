package control_test

import (
	"fmt"
	"strings"
	"testing"

	"sandlot/api"
	"sandlot/internal/control"
	"sandlot/internal/play"
)

func TestABudgetBoundsPlaysAndTheAuthorIsTold(t *testing.T) {
	ask := func(cpus int, ram string) *api.Resources { return &api.Resources{CPUCount: cpus, RAMSize: ram} }
	for _, test := range []struct {
		name     string
		budget   control.Budget
		free     bool
		ask      []*api.Resources
		cpus     string
		memory   string
		notes    int
		mentions string
	}{
		{"none", control.Budget{}, false, []*api.Resources{ask(16, "32GiB")}, "16", "32GiB", 0, ""},
		{"at the limit", control.Budget{MachineCPUs: 2, MachineMemoryMiB: 4096}, false, []*api.Resources{ask(2, "4GiB")}, "2", "4GiB", 0, ""},
		{"above a machine's", control.Budget{MachineCPUs: 2, MachineMemoryMiB: 4096}, false, []*api.Resources{ask(3, "5GiB")}, "2", "4GiB", 2, "a machine may have 4GiB"},
		{"above a play's", control.Budget{PlayCPUs: 6, PlayMemoryMiB: 6144}, false, []*api.Resources{ask(8, "8GiB"), ask(4, "4GiB")}, "4 2", "4GiB 2GiB", 4, "a play may have 6GiB"},
		{"as free tier", control.Budget{}, true, []*api.Resources{ask(4, "8GiB")}, "2", "4GiB", 2, "a machine may have 2 CPUs"},
		{"as free tier below it", control.Budget{MachineCPUs: 1}, true, []*api.Resources{ask(4, "8GiB")}, "1", "4GiB", 2, "a machine may have 1 CPU"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, func(o *control.Options) { o.Budget = test.budget })
			req := hello("debian-12")
			req.AsFreeTierUser = test.free
			req.Machines = nil
			for i, r := range test.ask {
				m := hello("debian-12").Machines[0]
				m.Name, m.Resources = fmt.Sprintf("m%d", i), r
				req.Machines = append(req.Machines, m)
			}
			p, err := l.Start(t.Context(), admin, req)
			if err != nil {
				t.Fatal(err)
			}
			var cpus, memory []string
			for i, m := range p.Machines {
				cpus, memory = append(cpus, fmt.Sprint(m.Resources.CPUCount)), append(memory, m.Resources.RAMSize)
				if got := l.bender.plays[play.ID(p.ID)].Plan.Machines[i].CPUs; got != m.Resources.CPUCount {
					t.Errorf("bender was told %d", got)
				}
			}
			if strings.Join(cpus, " ") != test.cpus || strings.Join(memory, " ") != test.memory {
				t.Errorf("got %v CPUs, %v", cpus, memory)
			}
			if notes := strings.Join(p.Notes, "\n"); len(p.Notes) != test.notes || !strings.Contains(notes, test.mentions) {
				t.Errorf("notes: %s", notes)
			}
		})
	}
}
