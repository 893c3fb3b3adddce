package kernel

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// pkg is what is needed of one package's stanza in apt's lists.
type pkg struct {
	Name, Version string
	Depends       string
}

// parsePackages reads the stanzas `apt-cache show` prints.
func parsePackages(text string) []pkg {
	var list []pkg
	for stanza := range strings.SplitSeq(text, "\n\n") {
		var p pkg
		for line := range strings.SplitSeq(stanza, "\n") {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "Package":
				p.Name = strings.TrimSpace(value)
			case "Version":
				p.Version = strings.TrimSpace(value)
			case "Depends":
				p.Depends = value
			}
		}
		if p.Name != "" && p.Version != "" {
			list = append(list, p)
		}
	}
	return list
}

// imagePattern is the apt-cache search pattern for the kernel packages of a
// version; group 1 is the kernel's release.
func imagePattern(version string) string {
	return `^linux-image-(` + regexp.QuoteMeta(version) + `\.[0-9][0-9a-z.+~-]*-cloud-amd64)$`
}

// newest picks the newest kernel package of a version.
func newest(version string, list []pkg) (image pkg, release string, ok bool) {
	pattern := regexp.MustCompile(imagePattern(version))
	list = slices.DeleteFunc(slices.Clone(list), func(p pkg) bool { return !pattern.MatchString(p.Name) })
	if len(list) == 0 {
		return pkg{}, "", false
	}
	image = slices.MaxFunc(list, func(a, b pkg) int {
		return cmp.Or(compareVersions(a.Version, b.Version), compareVersions(a.Name, b.Name))
	})
	return image, pattern.FindStringSubmatch(image.Name)[1], true
}

var parts = regexp.MustCompile(`^(linux-(?:binary|modules)-[0-9a-z.+-]+) \(= ([^ )]+)\)$`)

// dependencies are the packages that hold other files of the same kernel:
// later Debian kernels split off modules and the image itself. Only exact
// versions count; everything else a kernel depends on is for an installed
// system.
func dependencies(p pkg) []pkg {
	var list []pkg
	for dep := range strings.SplitSeq(p.Depends, ",") {
		if m := parts.FindStringSubmatch(strings.TrimSpace(dep)); m != nil {
			list = append(list, pkg{Name: m[1], Version: m[2]})
		}
	}
	return list
}

// compareVersions orders Debian version numbers as dpkg does
// (deb-version(7)).
func compareVersions(a, b string) int {
	epochA, a := splitEpoch(a)
	epochB, b := splitEpoch(b)
	if c := compareRevision(epochA, epochB); c != 0 {
		return c
	}
	upstreamA, revisionA := splitRevision(a)
	upstreamB, revisionB := splitRevision(b)
	return cmp.Or(compareRevision(upstreamA, upstreamB), compareRevision(revisionA, revisionB))
}

func splitEpoch(v string) (epoch, rest string) {
	if e, r, ok := strings.Cut(v, ":"); ok {
		return e, r
	}
	return "0", v
}

func splitRevision(v string) (upstream, revision string) {
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, ""
}

// compareRevision walks both strings in turns: a run of non-digits, a run of
// digits.
func compareRevision(a, b string) int {
	for a != "" || b != "" {
		i, j := 0, 0
		for (i < len(a) && !digit(a[i])) || (j < len(b) && !digit(b[j])) {
			if c := cmp.Compare(order(a, i), order(b, j)); c != 0 {
				return c
			}
			i, j = i+1, j+1
		}
		a, b = a[min(i, len(a)):], b[min(j, len(b)):]
		var numA, numB string
		numA, a = leadingDigits(a)
		numB, b = leadingDigits(b)
		if c := cmp.Or(cmp.Compare(len(numA), len(numB)), strings.Compare(numA, numB)); c != 0 {
			return c
		}
	}
	return 0
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// order ranks the character at i: a tilde before the end of the string, the
// end before letters, letters before all else.
func order(s string, i int) int {
	switch {
	case i >= len(s) || digit(s[i]):
		return 0
	case s[i] == '~':
		return -1
	case s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z':
		return int(s[i])
	}
	return int(s[i]) + 256
}

func leadingDigits(s string) (number, rest string) {
	i := 0
	for i < len(s) && digit(s[i]) {
		i++
	}
	return strings.TrimLeft(s[:i], "0"), s[i:]
}

func (p pkg) String() string { return fmt.Sprintf("%s %s", p.Name, p.Version) }
