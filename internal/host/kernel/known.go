package kernel

import (
	"fmt"
	"strings"
)

// Source says where in Debian's archive a version comes from.
type Source struct {
	Version string
	Suites  []Suite // all of them are looked at; the newest package wins
}

// Suite is one suite of the archive, section main.
type Suite struct {
	Name     string
	Security bool // lies in debian-security, not in debian
}

// known is the list of versions, oldest first. As of November 2026:
// trixie-backports has moved on past 6.18 but still carries its last
// packages.
var known = []Source{
	{"5.10", []Suite{{"bullseye-security", true}, {"bullseye", false}}},
	{"6.1", []Suite{{"bookworm-security", true}, {"bookworm", false}}},
	{"6.12", []Suite{{"trixie-security", true}, {"trixie", false}}},
	{"6.18", []Suite{{"trixie-backports", false}}},
}

// Known lists the versions that can be pulled, oldest first.
func Known() []string {
	versions := make([]string, len(known))
	for i, s := range known {
		versions[i] = s.Version
	}
	return versions
}

func source(version string) (Source, error) {
	for _, s := range known {
		if s.Version == version {
			return s, nil
		}
	}
	return Source{}, fmt.Errorf("there is no such version; known are %s", strings.Join(Known(), ", "))
}
