package control

import (
	"sandlot/api"
	"sandlot/internal/plan"
)

// Budget is what a user's machines may have, one alone and all of a play
// together. 0 means no limit but the host's.
type Budget struct {
	MachineCPUs, MachineMemoryMiB int
	PlayCPUs, PlayMemoryMiB       int
}

// freeTier is the reference platform's free budget: authors ask for it to see
// their playground as most people do.
var freeTier = Budget{MachineCPUs: 2, MachineMemoryMiB: 4 << 10, PlayCPUs: 5, PlayMemoryMiB: 8 << 10}

// budget is what this start may use. There is one plan for all users yet.
func (c *Control) budget(req api.StartPlay) Budget {
	if !req.AsFreeTierUser {
		return c.opts.Budget
	}
	have, free := c.opts.Budget, freeTier
	return Budget{
		MachineCPUs: lower(have.MachineCPUs, free.MachineCPUs), MachineMemoryMiB: lower(have.MachineMemoryMiB, free.MachineMemoryMiB),
		PlayCPUs: lower(have.PlayCPUs, free.PlayCPUs), PlayMemoryMiB: lower(have.PlayMemoryMiB, free.PlayMemoryMiB),
	}
}

// bound lowers the host's limits to the budget's.
func (b Budget) bound(f plan.Facts) plan.Facts {
	f.MaxCPUs, f.MaxMemoryMiB = lower(f.MaxCPUs, b.MachineCPUs), lower(f.MaxMemoryMiB, b.MachineMemoryMiB)
	f.PlayCPUs, f.PlayMemoryMiB = lower(f.PlayCPUs, b.PlayCPUs), lower(f.PlayMemoryMiB, b.PlayMemoryMiB)
	return f
}

// lower is the smaller of two limits, of which 0 is none.
func lower(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
