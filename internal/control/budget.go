package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sandlot/api"
	"sandlot/internal/manifest"
	"sandlot/internal/plan"
	"sandlot/internal/store"
)

// Budget is what a user may have: people call it their plan, a word that
// stands for something else in here. 0 means no limit but the host's.
type Budget struct {
	// What machines get, one alone and all of a play together; who asks for
	// more is scaled down.
	MachineCPUs, MachineMemoryMiB int
	PlayCPUs, PlayMemoryMiB       int
	// Plays run at once; StoredPlays are stopped, or will be when their time
	// is up.
	Plays, StoredPlays int
	// PlayTime is how long a play runs unless somebody asks for more, up to
	// LongestPlayTime.
	PlayTime, LongestPlayTime time.Duration
	// PoolBytes is the promised size of the drives of all plays and saved
	// playgrounds.
	PoolBytes   int64
	Playgrounds int
}

// Plans that are there unless the configuration says otherwise. What machines
// get is as on the reference platform; Free is what authors ask for to see
// their playground as most people do.
const (
	FreePlan      = "free"
	PaidPlan      = "paid"
	UnlimitedPlan = "unlimited"
)

// DefaultPlans returns them.
func DefaultPlans() map[string]Budget {
	return map[string]Budget{
		FreePlan: {
			MachineCPUs: 2, MachineMemoryMiB: 4 << 10, PlayCPUs: 5, PlayMemoryMiB: 8 << 10,
			Plays: 2, StoredPlays: 3, PlayTime: time.Hour, LongestPlayTime: 4 * time.Hour, PoolBytes: 120 << 30, Playgrounds: 20,
		},
		PaidPlan: {
			MachineCPUs: 4, MachineMemoryMiB: 10 << 10, PlayCPUs: 10, PlayMemoryMiB: 16 << 10,
			Plays: 5, StoredPlays: 20, PlayTime: 8 * time.Hour, LongestPlayTime: 24 * time.Hour, PoolBytes: 480 << 30, Playgrounds: 200,
		},
		UnlimitedPlan: {},
	}
}

// PlanOf names the plan of a user: the one they were given, if it still
// exists, else the unlimited one for administrators and the default for others.
func PlanOf(u store.User, plans map[string]Budget, standard string) string {
	if _, ok := plans[u.Plan]; ok {
		return u.Plan
	}
	if u.Role == store.RoleAdministrator {
		return UnlimitedPlan
	}
	return standard
}

// allowance is a user's plan by name and what it and this host allow.
type allowance struct {
	plan string
	Budget
}

func (c *Control) allowance(ctx context.Context, owner string) (allowance, error) {
	u, err := c.opts.Store.User(ctx, owner)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return allowance{}, err
	}
	name := PlanOf(u, c.opts.Plans, c.opts.DefaultPlan)
	b := c.opts.Plans[name].within(c.opts.Budget)
	b.Playgrounds = lower(b.Playgrounds, maxPlaygrounds)
	return allowance{name, b}, nil
}

// within lowers what machines get to another budget's.
func (b Budget) within(o Budget) Budget {
	b.MachineCPUs, b.MachineMemoryMiB = lower(b.MachineCPUs, o.MachineCPUs), lower(b.MachineMemoryMiB, o.MachineMemoryMiB)
	b.PlayCPUs, b.PlayMemoryMiB = lower(b.PlayCPUs, o.PlayCPUs), lower(b.PlayMemoryMiB, o.PlayMemoryMiB)
	return b
}

// machines is what this start's machines may have.
func (a allowance) machines(c *Control, req api.StartPlay) Budget {
	if !req.AsFreeTierUser {
		return a.Budget
	}
	return a.within(c.opts.Plans[FreePlan])
}

// bound lowers the host's limits to the budget's.
func (b Budget) bound(f plan.Facts) plan.Facts {
	f.MaxCPUs, f.MaxMemoryMiB = lower(f.MaxCPUs, b.MachineCPUs), lower(f.MaxMemoryMiB, b.MachineMemoryMiB)
	f.PlayCPUs, f.PlayMemoryMiB = lower(f.PlayCPUs, b.PlayCPUs), lower(f.PlayMemoryMiB, b.PlayMemoryMiB)
	return f
}

func (b Budget) limits() store.Limits {
	return store.Limits{Plays: b.Plays, StoredPlays: b.StoredPlays, PoolBytes: b.PoolBytes, Playgrounds: b.Playgrounds}
}

// firstTime is how long a play runs unless somebody asks.
func (b Budget) firstTime() time.Duration { return lower(b.PlayTime, b.LongestPlayTime) }

// refuse turns what the store says about limits into words.
func (a allowance) refuse(verb string, err error) error {
	var over *store.OverLimit
	if !errors.As(err, &over) {
		return err
	}
	var why string
	switch over.What {
	case store.LimitPlays:
		why = fmt.Sprintf("%d of yours run, and your plan %q allows %d at once; stop or destroy one", over.Have, a.plan, over.Limit)
	case store.LimitStoredPlays:
		why = fmt.Sprintf("you keep %d stopped or persistent plays, and your plan %q allows %d; destroy one", over.Have, a.plan, over.Limit)
	case store.LimitPlaygrounds:
		why = fmt.Sprintf("you have %d, and your plan %q allows %d; remove some", over.Have, a.plan, over.Limit)
	default:
		why = fmt.Sprintf("its drives have %s, the others of yours %s, and your plan %q allows %s together; destroy plays, remove saved playgrounds or ask for smaller drives",
			manifest.FormatSize(over.Add), manifest.FormatSize(over.Have), a.plan, manifest.FormatSize(over.Limit))
	}
	return api.Errorf(api.TooMany, "cannot %s: %s", verb, why)
}

// checkPlans refuses a default that is no plan.
func checkPlans(o Options) error {
	if _, ok := o.Plans[o.DefaultPlan]; !ok {
		return fmt.Errorf("cannot use plan %q: there are %s", o.DefaultPlan, strings.Join(slices.Sorted(maps.Keys(o.Plans)), ", "))
	}
	return nil
}

// UserPlan tells what the user may have, and has.
func (c *Control) UserPlan(ctx context.Context, user api.Me) (api.UserPlan, error) {
	a, err := c.allowance(ctx, user.ID)
	if err != nil {
		return api.UserPlan{}, err
	}
	use, err := c.opts.Store.UseOf(ctx, user.ID)
	if err != nil {
		return api.UserPlan{}, err
	}
	return api.UserPlan{Name: a.plan, Limits: a.Wire(), Use: WireUse(use)}, nil
}

// Wire is the budget as the API shows it.
func (b Budget) Wire() api.PlanLimits {
	return api.PlanLimits{
		MachineCPUs: b.MachineCPUs, MachineMemory: size(int64(b.MachineMemoryMiB) << 20), PlayCPUs: b.PlayCPUs, PlayMemory: size(int64(b.PlayMemoryMiB) << 20),
		Plays: b.Plays, StoredPlays: b.StoredPlays, PlayTime: duration(b.firstTime()), LongestPlayTime: duration(b.LongestPlayTime),
		PoolSpace: size(b.PoolBytes), Playgrounds: b.Playgrounds,
	}
}

// WireUse is what a user has as the API shows it.
func WireUse(u store.Usage) api.PlanUse {
	return api.PlanUse{Plays: u.Plays, StoredPlays: u.StoredPlays, PoolSpace: manifest.FormatSize(u.PoolBytes), Playgrounds: u.Playgrounds}
}

// size and duration show limits, "" for none.
func size(n int64) string {
	if n == 0 {
		return ""
	}
	return manifest.FormatSize(n)
}

func duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// lower is the smaller of two limits, of which 0 is none.
func lower[T int | int64 | time.Duration](a, b T) T {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
