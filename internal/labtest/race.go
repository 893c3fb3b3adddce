//go:build race

package labtest

// Race tells that the race detector watches, which allocates beside every
// allocation of a test's.
const Race = true
