package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/internal/server/servertest"
)

// every calls f for each command that does something itself, with its path.
func every(t *testing.T, f func(path string, c *cobra.Command)) {
	t.Helper()
	n := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.HasSubCommands() {
				walk(sub)
				continue
			}
			n++
			f(strings.TrimPrefix(sub.CommandPath(), "labctl "), sub)
		}
	}
	walk(newShell(t, nil).app(io.Discard, io.Discard).root())
	if n < 30 {
		t.Fatalf("only %d commands", n)
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	known := map[string]bool{}
	every(t, func(path string, c *cobra.Command) {
		known[path] = true
		if !strings.HasPrefix(c.Example, "  ") || !strings.Contains(c.Example, "labctl "+path) {
			t.Errorf("%s: no example of it in %q", path, c.Example)
		}
		if c.Short == "" {
			t.Errorf("%s: say what it does", path)
		}
	})
	for path := range examples {
		if !known[path] {
			t.Errorf("an example of %q, which does not exist", path)
		}
	}
}

// Examples parse: their commands and flags exist.
func TestExamplesAreCommands(t *testing.T) {
	every(t, func(path string, c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "   #")
			_, line, ok := strings.Cut(line, "labctl ")
			if !ok {
				continue
			}
			line, _, _ = strings.Cut(line, " > ")
			line, _, _ = strings.Cut(line, " | ")
			root := newShell(t, nil).app(io.Discard, io.Discard).root()
			found, rest, err := root.Find(strings.Fields(line))
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: %v", line, err)
			} else if err := found.ValidateArgs(found.Flags().Args()); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	})
}

// What prints data prints it for programs, too.
func TestDataCommandsHaveFormats(t *testing.T) {
	// These print an id or text of a file, or nothing.
	plain := map[string]bool{
		"auth login": true, "auth logout": true, "auth token revoke": true, "auth signin-url": true, "playground stop": true, "playground destroy": true, "playground persist": true,
		"playground lifetime": true, "playground wait": true, "playground remove": true, "playground machine reboot": true,
		"playground machine stop": true, "playground machine restart": true, "playground machine console": true, "playground machine journal": true,
		"ssh-proxy": true, "cp": true, "ide": true, "kube-proxy": true, "expose local": true, "playground region": true, "expose port": true, "expose shell": true, "expose remove": true, "port-forward": true,
		"manifest schema": true, "ssh": true, "terminal": true, "api": true, "version": true,
		"playground start": true, "playground restart": true, "playground create": true, "playground update": true, "playground save": true, "playground fork": true, // id or json
		"playground manifest": true, "manifest validate": true, "manifest plan": true, // text, yaml or json
	}
	every(t, func(path string, c *cobra.Command) {
		f := c.Flags().Lookup("output")
		if plain[path] {
			return
		}
		if f == nil {
			t.Errorf("%s has no -o", path)
			return
		}
		for _, format := range []string{"table", "json", "yaml"} {
			if err := f.Value.Set(format); err != nil {
				t.Errorf("%s -o %s: %v", path, format, err)
			}
		}
	})
}

func TestCompletion(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("demo", "m1", "m2"))
	l.Catalog = append(l.Catalog, api.Playground{Name: "docker"})
	s := newShell(t, l)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := s.must("completion", shell); !strings.Contains(got, "labctl") {
			t.Errorf("%s: %.80s", shell, got)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ssh", ""}, id + "\tflexbox demo\n"},
		{[]string{"ssh", id, "-m", ""}, "m1\nm2\n"},
		{[]string{"terminal", id, "--machine", ""}, "m1\nm2\n"},
		{[]string{"playground", "machine", "console", id, ""}, "m1\nm2\n"},
		{[]string{"playground", "start", ""}, "docker\n"},
		{[]string{"playground", "list", "-o", ""}, "table\njson\nyaml\n"},
	} {
		if got := s.must(append([]string{"__complete"}, c.args...)...); !strings.Contains(got, c.want) {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
}

func TestWhereTheLoginIs(t *testing.T) {
	s := newShell(t, nil)
	s.env = map[string]string{}
	write := func(path, host string) {
		t.Helper()
		path = filepath.Join(s.home, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("base_url: http://"+host+"\napi_base_url: http://"+host+"/api\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(url, plays string) {
		t.Helper()
		cfg, err := s.app(io.Discard, io.Discard).config()
		if err != nil || cfg.BaseURL != url || cfg.PlaysDir != filepath.Join(s.home, plays) {
			t.Errorf("%s and plays in %s, want %s and %s (%v)", cfg.BaseURL, cfg.PlaysDir, url, plays, err)
		}
	}
	want(DefaultBaseURL, ".local/state/labctl/plays")
	write(".iximiuz/labctl/config.yaml", "reference")
	want("http://reference", ".iximiuz/labctl/plays")
	// Where the reference client's is alone, it is the one that is written.
	if err := s.app(io.Discard, io.Discard).saveConfig(Config{BaseURL: "http://saved", APIBaseURL: "http://saved/api"}); err != nil {
		t.Fatal(err)
	}
	want("http://saved", ".iximiuz/labctl/plays")
	write(".config/labctl/config.yaml", "own")
	want("http://own", ".local/state/labctl/plays")
	write("xdg/labctl/config.yaml", "xdg")
	s.env["XDG_CONFIG_HOME"] = filepath.Join(s.home, "xdg")
	s.env["XDG_STATE_HOME"] = filepath.Join(s.home, "state")
	want("http://xdg", "state/labctl/plays")
	s.env["XDG_CONFIG_HOME"] = "relative/is/ignored"
	want("http://own", "state/labctl/plays")
	s.env["LABCTL_ENDPOINT"] = "http://env:1/"
	want("http://env:1", "state/labctl/plays")
	a := s.app(io.Discard, io.Discard)
	a.endpoint = "http://flag"
	if cfg, err := a.config(); err != nil || cfg.BaseURL != "http://flag" {
		t.Errorf("%s, %v", cfg.BaseURL, err)
	}
}

func TestRawAPI(t *testing.T) {
	l := servertest.New(t)
	id := string(l.Add("demo", "m1"))
	s := newShell(t, l)
	var me api.Me
	if err := json.Unmarshal([]byte(s.must("api", "/auth/me")), &me); err != nil || me.ID != servertest.UserID {
		t.Errorf("%+v, %v", me, err)
	}
	s.in = strings.NewReader(`{"action":"set_title","title":"new"}`)
	if out := s.must("api", "plays/"+id+"/actions", "--input", "-"); !strings.Contains(out, `"title":"new"`) {
		t.Errorf("input: %s", out)
	}
	file := filepath.Join(s.home, "body.json")
	if err := os.WriteFile(file, []byte(`{"action":"stop"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.must("api", "/plays/"+id+"/actions", "-X", "POST", "--input", file, "-s"); out != "" {
		t.Errorf("silent: %q", out)
	}
	if got := l.Actions(); len(got) != 2 || got[1] != "stop" {
		t.Errorf("actions: %q", got)
	}
	s.fails(1, "there is no GET /api/nosuch", "api", "/nosuch")
	s.fails(1, "cannot send a body with GET", "api", "/plays", "-X", "GET", "--input", file)
	s.fails(1, "no such file", "api", "/plays", "--input", file+".gone")
	s.fails(1, "want one of", "api", "/plays", "-X", "BREW")
}

func TestSearch(t *testing.T) {
	l := servertest.New(t)
	l.Catalog = append(l.Catalog, api.Playground{Name: "flex-two", Title: "\x1b[31mred\x1b[0m"})
	s := newShell(t, l)
	if got := s.must("search", "flex", "-q"); got != "playground/flexbox\nplayground/flex-two\n" {
		t.Errorf("quiet: %q", got)
	}
	golden(t, "search.txt", s.must("search", "flex"))
	out, errs, _ := s.run("search", "flex", "--limit", "1")
	if !strings.Contains(errs, "1 of 2; more with --offset 1.") || strings.Contains(out, "flex-two") {
		t.Errorf("page: %q %q", out, errs)
	}
	var found api.SearchResult
	if err := json.Unmarshal([]byte(s.must("search", "flex", "-o", "json")), &found); err != nil || len(found.Items) != 2 {
		t.Errorf("%+v, %v", found, err)
	}
	s.fails(1, "name a word to look for", "search")
}

func TestJournal(t *testing.T) {
	l := servertest.New(t)
	id := l.Add("demo", "m1", "m2")
	l.Ready(id)
	s := newShell(t, l)
	out, errs, code := s.run("playground", "machine", "journal", string(id), "m2", "-n", "5", "-u", "nginx; reboot", "--until", "now")
	if want := "journalctl --no-pager --quiet --lines=5 --unit=nginx; reboot --until=now\n"; out != want || code != 1 || !strings.Contains(errs, "journalctl ended with 3") {
		t.Errorf("%d %q %q, want %q", code, out, errs, want)
	}
	// Without an end it follows, and ends with the person who reads.
	ctx, cancel := context.WithCancel(t.Context())
	s.ctx = ctx
	read, write := io.Pipe()
	done := make(chan int)
	go func() {
		done <- s.app(write, io.Discard).Run(ctx, []string{"playground", "machine", "journal", string(id), "m1"})
	}()
	if line, err := bufio.NewReader(read).ReadString('\n'); err != nil || !strings.HasSuffix(line, "--follow\n") {
		t.Errorf("%q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, read) }()
	cancel()
	if code := <-done; code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	s.ctx = t.Context()
	s.fails(1, "lines is -1", "playground", "machine", "journal", string(id), "m1", "-n", "-1")
	s.fails(1, "control characters", "playground", "machine", "journal", string(id), "m1", "--since", "a\nb")
}
