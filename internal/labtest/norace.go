//go:build !race

package labtest

// Race tells that the race detector watches; it does not.
const Race = false
