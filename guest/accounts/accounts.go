// Package accounts reads /etc/passwd and /etc/group of an image. In goes text
// that anybody may have written; out come the lines that make sense. Pure.
package accounts

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Account is one line of /etc/passwd.
type Account struct {
	Name     string
	UID, GID int
	Home     string
	Shell    string
}

// ParsePasswd reads the lines of /etc/passwd that make sense and skips the
// others: the image's author may have written anything.
func ParsePasswd(text string) []Account {
	var out []Account
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 7 || f[0] == "" {
			continue
		}
		uid, err1 := parseID(f[2])
		gid, err2 := parseID(f[3])
		if err1 != nil || err2 != nil {
			continue
		}
		home := f[5]
		if !path.IsAbs(home) {
			home = "/"
		}
		out = append(out, Account{Name: f[0], UID: uid, GID: gid, Home: path.Clean(home), Shell: f[6]})
	}
	return out
}

// Group is one line of /etc/group.
type Group struct {
	Name    string
	GID     int
	Members []string
}

// ParseGroup reads the lines of /etc/group that make sense.
func ParseGroup(text string) []Group {
	var out []Group
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 3 || f[0] == "" {
			continue
		}
		gid, err := parseID(f[2])
		if err != nil {
			continue
		}
		g := Group{Name: f[0], GID: gid}
		if len(f) > 3 && f[3] != "" {
			g.Members = strings.Split(f[3], ",")
		}
		out = append(out, g)
	}
	return out
}

// Find looks a user up by name, or by number where no name matches.
func Find(accounts []Account, user string) (Account, bool) {
	for _, a := range accounts {
		if a.Name == user {
			return a, true
		}
	}
	if id, err := parseID(user); err == nil {
		for _, a := range accounts {
			if a.UID == id {
				return a, true
			}
		}
	}
	return Account{}, false
}

func parseID(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err == nil && n == 1<<32-1 {
		err = fmt.Errorf("%s means \"unchanged\" to chown", s)
	}
	return int(n), err
}

// Owner resolves "user", "user:group", ":group" or numbers. A user without
// group has its primary group, a number unknown to passwd the same group.
func Owner(owner string, accounts []Account, groups []Group) (uid, gid int, err error) {
	user, group, hasGroup := strings.Cut(owner, ":")
	if user != "" {
		if a, ok := Find(accounts, user); ok {
			uid, gid = a.UID, a.GID
		} else if id, err := parseID(user); err == nil {
			uid, gid = id, id
		} else {
			return 0, 0, fmt.Errorf("no user %q in /etc/passwd", user)
		}
	}
	if hasGroup && group != "" {
		for _, g := range groups {
			if g.Name == group {
				return uid, g.GID, nil
			}
		}
		if gid, err = parseID(group); err != nil {
			return 0, 0, fmt.Errorf("no group %q in /etc/group", group)
		}
	}
	return uid, gid, nil
}
