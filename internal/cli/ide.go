package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"sandlot/api"
	"sandlot/client"
)

// editor is a program that opens a folder of a host over SSH. Programs other
// than these are never started.
type editor struct {
	name, program string
	// args open dir, an absolute path, as user at address.
	args func(user string, at *net.TCPAddr, dir string) []string
}

var editors = []editor{
	{"antigravity", "antigravity-ide", remoteSSH},
	{"code", "code", remoteSSH},
	{"cursor", "cursor", remoteSSH},
	{"jetbrains", "gateway", func(user string, at *net.TCPAddr, dir string) []string {
		q := url.Values{"type": {"ssh"}, "host": {at.IP.String()}, "port": {fmt.Sprint(at.Port)}, "user": {user}, "projectPath": {dir}, "deploy": {"true"}}
		return []string{"jetbrains-gateway://connect#" + q.Encode()}
	}},
	{"windsurf", "windsurf", remoteSSH},
	{"zed", "zed", func(user string, at *net.TCPAddr, dir string) []string {
		return []string{(&url.URL{Scheme: "ssh", User: url.User(user), Host: at.String(), Path: dir}).String()}
	}},
}

// remoteSSH are the arguments of the editors of the family of VS Code.
func remoteSSH(user string, at *net.TCPAddr, dir string) []string {
	return []string{"--folder-uri", "vscode-remote://ssh-remote+" + user + "@" + at.String() + (&url.URL{Path: dir}).EscapedPath()}
}

func editorNames() []string {
	var names []string
	for _, e := range editors {
		names = append(names, e.name)
	}
	return names
}

// findEditor returns a known editor whose program is in PATH.
func findEditor(name string) (editor, error) {
	i := slices.IndexFunc(editors, func(e editor) bool { return e.name == name })
	if i < 0 {
		return editor{}, fmt.Errorf("there is no editor %q; known are %s", name, strings.Join(editorNames(), ", "))
	}
	if _, err := exec.LookPath(editors[i].program); err != nil {
		return editor{}, fmt.Errorf("cannot open %s: %w; install its command-line program %q", name, err, editors[i].program)
	}
	return editors[i], nil
}

// editing is what to open, where, by what.
type editing struct {
	login
	editor, workdir string
	repos           []string
	forwardAgent    bool
	quiet           bool
}

func (a *App) ide() *cobra.Command {
	var e editing
	cmd := &cobra.Command{
		Use:   "ide (" + strings.Join(editorNames(), "|") + ") PLAY",
		Short: "Open a machine in an editor of this computer",
		Long: `Open a folder of a machine in an editor of this computer, over SSH, until
Ctrl-C. The editor must be installed, with its command-line program in PATH.

Editors read ~/.ssh/config. If yours does not find the key, add there:

  Host 127.0.0.1
    IdentityFile ~/.ssh/iximiuz_labs_user
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null`,
		Example: "  labctl ide code PLAY -w projects\n  labctl ide zed PLAY -r https://example.org/app.git",
		Args:    cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return editorNames(), cobra.ShellCompDirectiveNoFileComp
			}
			return a.completePlays(cmd, args[1:], prefix)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&e.machine, "machine", "m", "", "machine (default: the first)")
	f.StringVarP(&e.user, "user", "u", "", "user (default: the machine's default user)")
	f.StringVarP(&e.workdir, "workdir", "w", "", "folder to open, from the user's home (default: home, or the first repository)")
	f.StringArrayVarP(&e.repos, "repo", "r", nil, "Git repository to clone first, as URL[:PATH] (repeatable)")
	f.BoolVar(&e.forwardAgent, "forward-agent", false, "let the machine use your SSH agent while it clones")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "print nothing but errors")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e.editor = args[0]
		if _, err := findEditor(e.editor); err != nil {
			return err
		}
		ctx := cmd.Context()
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.Play(ctx, args[1])
		if err != nil {
			return err
		}
		return a.runEditor(ctx, c, p, e)
	}
	return cmd
}

// runEditor prepares the machine, starts the editor and carries its
// connections until ctx ends.
func (a *App) runEditor(ctx context.Context, c *client.Client, p api.Play, e editing) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	program, err := findEditor(e.editor)
	if err != nil {
		return err
	}
	m, user, err := e.resolve(p)
	if err != nil {
		return err
	}
	home := "/home/" + user
	if user == "root" {
		home = "/root"
	}
	clones, dir, err := e.plan(home)
	if err != nil {
		return err
	}
	at, user, key, run, err := a.sshProxyTo(ctx, c, p, e.login, api.PortForward{})
	if err != nil {
		return err
	}
	if err := a.prepare(ctx, c, p.ID, m.Name, user, dir, home, clones, e); err != nil {
		return err
	}
	args := program.args(user, at, dir)
	a.say(e.quiet, "Opening %s %s", program.program, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, program.program, args...)
	cmd.Stdout, cmd.Stderr = a.Err, a.Err
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot open %s: %w", program.name, err)
	}
	go func() { _ = cmd.Wait() }() // many leave a window behind and end at once
	a.say(e.quiet, "The key is %s. Ctrl-C ends the connection.", key)
	return run()
}

// clone is one repository and the folder it goes to.
type clone struct{ url, dir string }

// plan resolves folders. Everything in it becomes one word of a shell command,
// or of a URL.
func (e editing) plan(home string) (clones []clone, dir string, err error) {
	within := func(p string) string {
		if path.IsAbs(p) {
			return path.Clean(p)
		}
		return path.Join(home, p)
	}
	base := home
	if e.workdir != "" {
		base = within(e.workdir)
	}
	dir = base
	for i, text := range e.repos {
		repo, target := cutTarget(text)
		if repo == "" || strings.HasPrefix(repo, "-") || strings.ContainsFunc(text, unicode.IsControl) {
			return nil, "", fmt.Errorf("cannot clone %q: write URL[:PATH]", text)
		}
		name := strings.TrimSuffix(path.Base(strings.ReplaceAll(repo, ":", "/")), ".git")
		one := clone{url: repo, dir: path.Join(base, name)}
		if target != "" {
			one.dir = target
			if !path.IsAbs(target) {
				one.dir = path.Join(base, target)
			}
		}
		clones = append(clones, one)
		if i == 0 && e.workdir == "" {
			dir = one.dir
		}
	}
	if strings.ContainsFunc(dir, unicode.IsControl) {
		return nil, "", fmt.Errorf("cannot open folder %q: it has control characters", dir)
	}
	return clones, dir, nil
}

// cutTarget splits URL:PATH. Colons of a scheme, a port and of user@host:path
// belong to the URL.
func cutTarget(text string) (repo, target string) {
	from := 0
	if i := strings.Index(text, "://"); i >= 0 {
		from = i + 3
		if slash := strings.IndexByte(text[from:], '/'); slash >= 0 {
			from += slash
		}
	} else if i := strings.IndexByte(text, ':'); i >= 0 && strings.Contains(text[:i], "@") {
		from = i + 1
	}
	if i := strings.IndexByte(text[from:], ':'); i >= 0 {
		return text[:from+i], text[from+i+1:]
	}
	return text, ""
}

// quoted makes one word of a POSIX shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// prepare makes the folder and clones what was asked for.
func (a *App) prepare(ctx context.Context, c *client.Client, playID, machine, user, dir, home string, clones []clone, e editing) error {
	var commands []string
	if dir != home && len(clones) == 0 {
		commands = append(commands, "mkdir -p -- "+quoted(dir))
	}
	for _, r := range clones {
		commands = append(commands, "mkdir -p -- "+quoted(path.Dir(r.dir))+" && { [ -e "+quoted(r.dir)+" ] || "+
			"GIT_SSH_COMMAND='ssh -o StrictHostKeyChecking=accept-new' git clone -- "+quoted(r.url)+" "+quoted(r.dir)+"; }")
	}
	if len(commands) == 0 {
		return nil
	}
	conn, id, err := a.sshTo(ctx, c, playID, machine, user)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, command := range commands {
		a.say(e.quiet, "On %s: %s", machine, command)
		if err := runQuietly(ctx, conn, id, command, e.forwardAgent); err != nil {
			return fmt.Errorf("cannot prepare machine %q: %w", machine, err)
		}
	}
	return nil
}

// sshTo opens an SSH connection with the person's key.
func (a *App) sshTo(ctx context.Context, c *client.Client, playID, machine, user string) (*ssh.Client, identity, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, identity{}, err
	}
	id, err := a.identity(cfg)
	if err != nil {
		return nil, id, err
	}
	conn, err := a.connectSSH(ctx, c, playID, machine, user, id)
	return conn, id, err
}

// runQuietly runs a command and tells what it wrote only where it fails.
func runQuietly(ctx context.Context, conn *ssh.Client, id identity, command string, forwardAgent bool) error {
	session, err := conn.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	if forwardAgent {
		if err := lendAgent(conn, session, id); err != nil {
			return err
		}
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	out, err := session.CombinedOutput(command)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var failed *ssh.ExitError
	if errors.As(err, &failed) {
		return fmt.Errorf("%s: exit code %d: %s", command, failed.ExitStatus(), clean(strings.TrimSpace(string(out))))
	}
	return err
}
