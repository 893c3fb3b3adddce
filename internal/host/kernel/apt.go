package kernel

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DebianKeyring is where the package debian-archive-keyring puts its keys.
const DebianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Mirror is the two roots of a copy of Debian's archive, as URLs.
type Mirror struct {
	Debian   string // "http://deb.debian.org/debian"
	Security string // "http://deb.debian.org/debian-security"
}

var defaultMirror = Mirror{"http://deb.debian.org/debian", "http://deb.debian.org/debian-security"}

// hostMirror finds the mirror in the text of the host's apt sources, one-line
// or deb822. What it cannot find there is deb.debian.org's: the host may be
// an Ubuntu.
func hostMirror(sources string) Mirror {
	var m Mirror
	for line := range strings.SplitSeq(sources, "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "deb ") && !strings.HasPrefix(strings.ToLower(line), "uris:") {
			continue
		}
		for field := range strings.FieldsSeq(line) {
			u, err := url.Parse(field)
			if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
				continue
			}
			root := strings.TrimRight(u.String(), "/")
			switch {
			case strings.HasSuffix(root, "/debian"):
				m.Debian = cmp.Or(m.Debian, root)
			case strings.HasSuffix(root, "/debian-security"):
				m.Security = cmp.Or(m.Security, root)
			}
		}
	}
	return Mirror{cmp.Or(m.Debian, defaultMirror.Debian), cmp.Or(m.Security, defaultMirror.Security)}
}

// sourcesList is the text of the private sources.list for one version.
func sourcesList(src Source, m Mirror, keyring string, trusted bool) string {
	option := "signed-by=" + keyring
	if trusted {
		option = "trusted=yes"
	}
	var b strings.Builder
	for _, suite := range src.Suites {
		root := m.Debian
		if suite.Security {
			root = m.Security
		}
		fmt.Fprintf(&b, "deb [arch=amd64 %s] %s %s main\n", option, root, suite.Name)
	}
	return b.String()
}

// aptConf is the text of the private configuration below dir. hostConf is
// what `apt-config dump` says on the host: its transport settings (proxy,
// certificates, time-outs) are kept, its hooks, index targets and lists are
// not.
func aptConf(dir, hostConf string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(hostConf, "\n") {
		if strings.HasPrefix(line, "Acquire::") && !strings.HasPrefix(line, "Acquire::IndexTargets") &&
			!strings.HasPrefix(line, "Acquire::Languages") && !strings.HasPrefix(line, "Acquire::Allow") {
			b.WriteString(line + "\n")
		}
	}
	for _, kv := range [][2]string{
		{"Dir::Etc::parts", "-"},
		{"Dir::Etc::main", "-"},
		{"Dir::Etc::sourcelist", filepath.Join(dir, "sources.list")},
		{"Dir::Etc::sourceparts", "-"},
		{"Dir::Etc::preferences", "-"},
		{"Dir::Etc::preferencesparts", "-"},
		{"Dir::State", filepath.Join(dir, "state")},
		{"Dir::State::lists", filepath.Join(dir, "lists")},
		{"Dir::State::status", filepath.Join(dir, "status")},
		{"Dir::Cache", filepath.Join(dir, "cache")},
		{"Dir::Cache::pkgcache", ""},
		{"Dir::Cache::srcpkgcache", ""},
		{"Dir::Log", filepath.Join(dir, "log")},
		{"APT::Architecture", "amd64"},
		{"Acquire::Languages", "none"},
		{"Acquire::GzipIndexes", "true"},
		{"Acquire::Retries", "1"},
		// A dead mirror is to be told in seconds, not minutes.
		{"Acquire::http::Timeout", "15"},
		{"Acquire::https::Timeout", "15"},
	} {
		fmt.Fprintf(&b, "%s %q;\n", kv[0], kv[1])
	}
	b.WriteString("APT::Architectures { \"amd64\"; };\n")
	return b.String()
}

// apt runs apt's programs with a private configuration.
type apt struct {
	dir string
}

// newApt writes the configuration for src below dir; the lists of earlier
// runs stay there.
func newApt(ctx context.Context, dir string, src Source, m Mirror, keyring string, trusted bool) (*apt, error) {
	for _, sub := range []string{"state", "lists/partial", "cache/archives/partial", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	hostConf, err := run(ctx, "", nil, "apt-config", "dump")
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"sources.list": sourcesList(src, m, keyring, trusted),
		"apt.conf":     aptConf(dir, hostConf),
		"status":       "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return &apt{dir}, nil
}

func (a *apt) run(ctx context.Context, cwd, program string, args ...string) (string, error) {
	return run(ctx, cwd, []string{"APT_CONFIG=" + filepath.Join(a.dir, "apt.conf")}, program, args...)
}

// update fetches the lists. Suites that cannot be had are no failure as long
// as another one has the kernel, so they come back as text.
func (a *apt) update(ctx context.Context) (missing string, err error) {
	out, err := a.run(ctx, "", "apt-get", "update", "-q")
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return "", err
	}
	if err != nil {
		return cmp.Or(firstComplaint(err.Error()), "apt-get update failed"), nil
	}
	return firstComplaint(out), nil
}

// packages returns the stanzas of all kernel packages of a version.
func (a *apt) packages(ctx context.Context, version string) ([]pkg, error) {
	out, err := a.run(ctx, "", "apt-cache", "search", "--names-only", imagePattern(version))
	if err != nil {
		return nil, err
	}
	args := []string{"show"}
	for line := range strings.SplitSeq(out, "\n") {
		if name, _, ok := strings.Cut(line, " - "); ok && strings.HasPrefix(name, "linux-image-") {
			args = append(args, name)
		}
	}
	if len(args) == 1 {
		return nil, nil
	}
	out, err = a.run(ctx, "", "apt-cache", args...)
	if err != nil {
		return nil, err
	}
	return parsePackages(out), nil
}

// show returns one package's stanza.
func (a *apt) show(ctx context.Context, p pkg) (pkg, error) {
	out, err := a.run(ctx, "", "apt-cache", "show", p.Name+"="+p.Version)
	if err != nil {
		return pkg{}, err
	}
	for _, found := range parsePackages(out) {
		if found.Name == p.Name && found.Version == p.Version {
			return found, nil
		}
	}
	return pkg{}, fmt.Errorf("package %s is not in the archive", p)
}

// download leaves the packages' files in dir.
func (a *apt) download(ctx context.Context, dir string, list []pkg) error {
	// apt drops its rights while it talks to the network; give the folder to
	// the user it becomes.
	if u, err := user.Lookup("_apt"); err == nil && os.Geteuid() == 0 {
		if uid, err := strconv.Atoi(u.Uid); err == nil {
			if err := os.Chown(dir, uid, 0); err != nil {
				return err
			}
		}
	}
	args := []string{"download", "-q"}
	for _, p := range list {
		args = append(args, p.Name+"="+p.Version)
	}
	_, err := a.run(ctx, dir, "apt-get", args...)
	if err != nil && ctx.Err() == nil && !errors.Is(err, exec.ErrNotFound) {
		return errors.New(firstComplaint(err.Error()))
	}
	return err
}

// firstComplaint is the first line apt marked as an error or a failed fetch,
// without its mark; empty if there is none.
func firstComplaint(out string) string {
	for _, marks := range [][]string{{"E: Failed to fetch ", "W: Failed to fetch "}, {"E: "}} {
		for line := range strings.SplitSeq(out, "\n") {
			for _, mark := range marks {
				if rest, ok := strings.CutPrefix(strings.TrimSpace(line), mark); ok {
					return strings.Join(strings.Fields(rest), " ")
				}
			}
		}
	}
	return ""
}

// run executes a program and returns both its outputs as one text; on failure
// the text is in the error. The program dies with the caller, whatever kills
// that.
func run(ctx context.Context, dir string, env []string, program string, args ...string) (string, error) {
	// The death signal is tied to the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("the program %s is missing: %w", program, exec.ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %v\n%s", program, err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}
