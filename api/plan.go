package api

// UserPlan is what a user may have, and has. Addition.
type UserPlan struct {
	Name   string     `json:"name"`
	Limits PlanLimits `json:"limits"`
	Use    PlanUse    `json:"use"`
}

// PlanLimits are the limits of a plan on this host; 0 or "" stands for none.
// Sizes are like "4GiB", times like "1h0m0s".
type PlanLimits struct {
	// What one machine gets at most, and all of a play together; who asks for
	// more is scaled down.
	MachineCPUs   int    `json:"machineCpus"`
	MachineMemory string `json:"machineMemory"`
	PlayCPUs      int    `json:"playCpus"`
	PlayMemory    string `json:"playMemory"`
	// Plays run at once; StoredPlays are stopped or persistent.
	Plays       int `json:"plays"`
	StoredPlays int `json:"storedPlays"`
	// PlayTime is what a play gets at its start, LongestPlayTime what it can be
	// extended to.
	PlayTime        string `json:"playTime"`
	LongestPlayTime string `json:"longestPlayTime"`
	// PoolSpace is the size of the drives of all plays and saved playgrounds.
	PoolSpace   string `json:"poolSpace"`
	Playgrounds int    `json:"playgrounds"`
}

// PlanUse is what counts against the limits of the same name.
type PlanUse struct {
	Plays       int    `json:"plays"`
	StoredPlays int    `json:"storedPlays"`
	PoolSpace   string `json:"poolSpace"`
	Playgrounds int    `json:"playgrounds"`
}

// EncodedPlay is the JSON of a Play in parts, but for the text of its pageUrl:
// that belongs between Middle and Tail, which have its quotes.
type EncodedPlay struct {
	ID                            string
	Head, ExpiresIn, Middle, Tail []byte
}
