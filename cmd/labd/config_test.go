package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sandlot/internal/host/layout"
)

// The sample names every setting, says nothing as it stands, and is right when
// all of it is said.
func TestSampleConfiguration(t *testing.T) {
	raw, err := os.ReadFile("../../packaging/labd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n, problems := checkConfig(raw); n != 0 || len(problems) > 0 {
		t.Errorf("as it stands: %d settings, %v", n, problems)
	}
	said := regexp.MustCompile(`(?m)^#( *[a-z-]+:( .*)?$)`).ReplaceAll(raw, []byte("$1"))
	n, problems := checkConfig(said)
	for _, p := range problems {
		t.Error(p)
	}
	flags, _ := allSettings()
	count := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if !setting(f) {
			return
		}
		count++
		if !regexp.MustCompile(`(?m)^` + f.Name + `:`).Match(said) {
			t.Errorf("the sample lacks %s", f.Name)
		}
	})
	if n != count {
		t.Errorf("%d settings in the sample, %d flags", n, count)
	}
}

// docs/operations.md tells of every flag.
func TestSettingsAreDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	flags, _ := allSettings()
	flags.VisitAll(func(f *pflag.Flag) {
		if setting(f) && !strings.Contains(string(raw), "`--"+f.Name) {
			t.Errorf("docs/operations.md does not tell of --%s", f.Name)
		}
	})
}

// Every problem at once, each with its place and the mend.
func TestConfigurationWithProblems(t *testing.T) {
	_, problems := checkConfig([]byte(`listen: 8484
poolSize: 4GiB
log-level: loud
strict: perhaps
machine-cpus: many
machine-memory: 1MiB
accel:
play-cpus: 0
tls-cert: {file: x}
log-level: info
crash-at: boot
nonsense: 1
registry-name: Registry
acme-domain: [a.example.org, [b]]
data-dir: var
public-url: labs.example.org
`))
	want := `1:9: listen: cannot use "8484" (write host:port, like 127.0.0.1:8484)
2:1: poolSize: there is no such setting (write pool-size)
3:12: log-level: cannot use "loud" (write debug, info, warn or error)
4:9: strict: cannot use "perhaps" (write true or false)
5:15: machine-cpus: cannot use "many" (write 1 or more, or leave it out)
6:17: machine-memory: cannot use "1MiB" (write like 4GiB, at least 128MiB)
7:7: accel: has no value (give it one, or remove the line)
8:12: play-cpus: cannot use "0" (write 1 or more, or leave it out)
9:11: tls-cert: has a structure of its own (write one value)
10:1: log-level: stands in line 3 already (keep one of them)
11:1: crash-at: there is no such setting (LIST)
12:1: nonsense: there is no such setting (LIST)
13:16: registry-name: cannot use "Registry" (write lower-case letters, digits and hyphens with a dot, like registry.example.com)
14:14: acme-domain: has a structure of its own (write one value)
15:11: data-dir: cannot use "var" (write an absolute path)
16:13: public-url: cannot use "labs.example.org" (write like https://labs.example.org)
`
	got := ""
	for _, p := range problems {
		got += regexp.MustCompile(`\(there are .*\)$`).ReplaceAllString(p.String(), "(LIST)") + "\n"
	}
	if got != want {
		t.Errorf("got\n%s", got)
	}
	for text, want := range map[string]string{
		"- a\n":                      "1:1: this is no list of settings",
		"a: b: c\n":                  "mapping values are not allowed",
		"tls-cert: /x\n":             "give both files",
		strings.Repeat("#\n", 1<<20): "the file is over",
	} {
		if _, problems := checkConfig([]byte(text)); len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%.20q: %v, want %q", text, problems, want)
		}
	}
	if n, problems := checkConfig(nil); n != 0 || problems != nil {
		t.Errorf("empty: %d %v", n, problems)
	}
}

// A flag wins over the environment, and that over the file.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "labd.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("listen: 127.0.0.1:1\naccel: kvm\nmachine-cpus: 3\nstrict: true\nacme-domain: [a.example.org, b.example.org]\n")
	env := map[string]string{"LABD_ACCEL": "tcg", "LABD_MACHINE_CPUS": "5"}
	flags, _ := allSettings()
	if err := flags.Parse([]string{"--machine-cpus", "7"}); err != nil {
		t.Fatal(err)
	}
	if err := configure(flags, file, func(k string) string { return env[k] }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"listen": "127.0.0.1:1", "accel": "tcg", "machine-cpus": "7", "strict": "true", "acme-domain": "[a.example.org,b.example.org]", "log-level": "info",
	} {
		if got := flags.Lookup(name).Value.String(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	// What is overridden must be right nevertheless, and the environment too.
	write("machine-cpus: x\n")
	env["LABD_LOG_LEVEL"] = "loud"
	err := configure(flags, file, func(k string) string { return env[k] })
	for _, want := range []string{file + ":1:15: machine-cpus: cannot use", "LABD_LOG_LEVEL: cannot use \"loud\"; write debug"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := configure(flags, file+".gone", func(string) string { return "" }); err == nil {
		t.Error("a file that is named must be there")
	}
}

// Other commands work on the data directory that the file names.
func TestOtherCommandsReadTheConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "labd.yaml")
	if err := os.WriteFile(file, []byte("data-dir: /srv/labs\npool-size: 9GiB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := &cobra.Command{Use: "labd"}
	var l layout.Layout
	root.PersistentFlags().StringVar(&l.Root, "data-dir", layout.DefaultDataDir, "")
	purge := purgeCommand(&l)
	root.AddCommand(purge)
	if err := purge.ParseFlags(nil); err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	none := func(string) string { return "" }
	if err := prepare(purge, file, none, func(k, v string) error { set[k] = v; return nil }); err != nil {
		t.Fatal(err)
	}
	if l.Root != "/srv/labs" || set["LABD_POOL_SIZE"] != "9GiB" {
		t.Errorf("%q, %v", l.Root, set)
	}
	if err := purge.ParseFlags([]string{"--data-dir", "/elsewhere"}); err != nil {
		t.Fatal(err)
	}
	if err := prepare(purge, file, none, func(string, string) error { return nil }); err != nil || l.Root != "/elsewhere" {
		t.Errorf("%q, %v", l.Root, err)
	}
}
