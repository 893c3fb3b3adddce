package agent

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"sandlot/guest/accounts"
	"sandlot/guest/wire"
)

const (
	rootPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	userPath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
)

// maxAccountFile bounds /etc/passwd and /etc/group: the machine's users may
// have put anything there.
const maxAccountFile = 4 << 20

func (a *Agent) readFile(name string) string {
	f, err := os.OpenFile(a.Root+name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxAccountFile))
	return string(b)
}

// account finds a user of the machine as it is now; "" is root, who exists
// even where /etc/passwd is broken.
func (a *Agent) account(user string) (accounts.Account, error) {
	if user == "" {
		user = "root"
	}
	if found, ok := accounts.Find(accounts.ParsePasswd(a.readFile("/etc/passwd")), user); ok {
		return found, nil
	}
	if user == "root" {
		return accounts.Account{Name: "root", Home: "/root", Shell: "/bin/sh"}, nil
	}
	return accounts.Account{}, fmt.Errorf("the machine has no user %q", user)
}

// credential is nil where nothing has to change, so that tests need no root.
func (a *Agent) credential(u accounts.Account) *syscall.Credential {
	if os.Geteuid() != 0 && os.Geteuid() == u.UID {
		return nil
	}
	c := &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID), Groups: []uint32{uint32(u.GID)}}
	for _, g := range accounts.ParseGroup(a.readFile("/etc/group")) {
		if g.GID != u.GID && slices.Contains(g.Members, u.Name) {
			c.Groups = append(c.Groups, uint32(g.GID))
		}
	}
	return c
}

// environment of a process: a login's if asked for, then /etc/environment,
// then what the request adds.
func (a *Agent) environment(u accounts.Account, e wire.Exec) []string {
	env := map[string]string{"PATH": userPath, "HOME": u.Home, "USER": u.Name}
	if u.UID == 0 {
		env["PATH"] = rootPath
	}
	if e.Login {
		env["LOGNAME"] = u.Name
		env["SHELL"] = shellOf(u)
		maps.Copy(env, parseEnvironment(a.readFile("/etc/environment")))
	}
	if e.TTY != nil {
		env["TERM"] = e.TTY.Term
		if e.TTY.Term == "" {
			env["TERM"] = "xterm-256color"
		}
	}
	maps.Copy(env, e.Env)
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

func shellOf(u accounts.Account) string {
	if u.Shell == "" {
		return "/bin/sh"
	}
	return u.Shell
}

// parseEnvironment reads KEY=value lines as pam_env does: an "export " in
// front, quotes around the value and comments are allowed.
func parseEnvironment(text string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		k, v, ok := strings.Cut(line, "=")
		if !ok || k == "" || strings.HasPrefix(k, "#") || strings.ContainsAny(k, " \t") {
			continue
		}
		if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
			v = v[1 : len(v)-1]
		}
		env[k] = v
	}
	return env
}

// lookPath finds a program in the PATH of env, from directory dir.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, p := range filepath.SplitList(path) {
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		file := filepath.Join(p, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("cannot find program %q", name)
}
