package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"sandlot/api"
	"sandlot/internal/host/layout"
	"sandlot/internal/manifest"
)

// Every flag of `labd up` is a setting: it is looked for on the command line,
// then in the environment as LABD_NAME, then in the configuration file under
// the flag's name, and has a default.

// DefaultConfig is read if it exists and no other file is named.
const DefaultConfig = "/etc/sandlot/labd.yaml"

// maxConfig bounds the file.
const maxConfig = 1 << 20

// checks look at single values; each says what would be right. Flags without
// one are checked by their type.
var checks = map[string]func(value string) (mend string, ok bool){
	"data-dir":       func(v string) (string, bool) { return "write an absolute path", strings.HasPrefix(v, "/") },
	"listen":         func(v string) (string, bool) { return "write host:port, like " + DefaultListen, isAddress(v) },
	"public-url":     func(v string) (string, bool) { return "write like https://labs.example.org", isRoot(v) },
	"acme-directory": func(v string) (string, bool) { return "write an https address", strings.HasPrefix(v, "https://") },
	"accel":          oneOf("auto", "kvm", "tcg"),
	"log-level":      oneOf("debug", "info", "warn", "error"),
	"log-format":     oneOf("text", "json"),
	"trusted-proxy": func(v string) (string, bool) {
		_, err := proxyNetwork(v)
		return "write an address or a network, like 127.0.0.1 or 10.0.0.0/8", err == nil
	},
	"pool-size":      isSize,
	"registry-size":  isSize,
	"machine-memory": isMemory,
	"play-memory":    isMemory,
	"machine-cpus":   isCount,
	"play-cpus":      isCount,
	"registry-name": func(v string) (string, bool) {
		return "write lower-case letters, digits and hyphens with a dot, like registry.example.com", checkRegistryName(v) == nil
	},
}

func oneOf(values ...string) func(string) (string, bool) {
	return func(v string) (string, bool) {
		return "write " + strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1], slices.Contains(values, v)
	}
}

func isAddress(v string) bool {
	_, port, err := net.SplitHostPort(v)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil && n <= 65535
}

func isRoot(v string) bool {
	u, err := url.Parse(v)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == ""
}

func isSize(v string) (string, bool) {
	_, err := manifest.ParseSize(v)
	return "write like 40GiB", err == nil
}

func isMemory(v string) (string, bool) {
	_, err := memoryLimit("", v)
	return "write like 4GiB, at least " + manifest.FormatSize(manifest.MinRAM), err == nil
}

func isCount(v string) (string, bool) {
	n, err := strconv.Atoi(v)
	return "write 1 or more, or leave it out", err == nil && n >= 1
}

// setting tells whether a flag may stand in the file.
func setting(f *pflag.Flag) bool {
	return f != nil && !f.Hidden && f.Name != "help" && f.Name != "config" && f.Name != "version"
}

// assign gives a flag values, after looking at them.
func assign(f *pflag.Flag, values []string) (problem, mend string) {
	for _, v := range values {
		if check := checks[f.Name]; check != nil {
			if mend, ok := check(v); !ok {
				return fmt.Sprintf("cannot use %q", v), mend
			}
		}
	}
	if list, ok := f.Value.(pflag.SliceValue); ok {
		if err := list.Replace(values); err != nil {
			return err.Error(), ""
		}
		return "", ""
	}
	if len(values) != 1 {
		return "has several values", "write one"
	}
	if err := f.Value.Set(values[0]); err != nil {
		mend := "write a " + f.Value.Type()
		switch f.Value.Type() {
		case "bool":
			mend = "write true or false"
		case "int":
			mend = "write a whole number"
		}
		return fmt.Sprintf("cannot use %q", values[0]), mend
	}
	return "", ""
}

// readConfig gives flags what a file says, except those already given, and
// returns all that is wrong with it.
func readConfig(data []byte, flags *pflag.FlagSet, given func(f *pflag.Flag) bool) (n int, problems []api.Problem) {
	if len(data) > maxConfig {
		return 0, []api.Problem{{Message: fmt.Sprintf("the file is over %d bytes", maxConfig)}}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return 0, []api.Problem{{Message: strings.TrimPrefix(err.Error(), "yaml: "), Fix: "write lines of the form name: value"}}
	}
	if len(doc.Content) == 0 {
		return 0, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return 0, []api.Problem{{Line: root.Line, Column: root.Column, Message: "this is no list of settings", Fix: "write lines of the form name: value"}}
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		at := func(node *yaml.Node, message, fix string) {
			problems = append(problems, api.Problem{Path: key.Value, Line: node.Line, Column: node.Column, Message: message, Fix: fix})
		}
		f := flags.Lookup(key.Value)
		if !setting(f) {
			at(key, "there is no such setting", known(flags, key.Value))
			continue
		}
		if line := seen[key.Value]; line > 0 {
			at(key, fmt.Sprintf("stands in line %d already", line), "keep one of them")
			continue
		}
		seen[key.Value] = key.Line
		if nested, ok := f.Value.(structured); ok {
			if given(f) { // looked at, but not used
				nested = newPlans()
			}
			wrong := nested.setNode(value)
			if problems = append(problems, wrong...); len(wrong) == 0 {
				n++
			}
			continue
		}
		var values []string
		switch {
		case value.Kind == yaml.SequenceNode && !slices.ContainsFunc(value.Content, func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode }):
			for _, n := range value.Content {
				values = append(values, n.Value)
			}
		case value.Kind != yaml.ScalarNode:
			at(value, "has a structure of its own", "write one value")
			continue
		case value.Tag == "!!null" || value.Value == "":
			at(value, "has no value", "give it one, or remove the line")
			continue
		default:
			values = []string{value.Value}
		}
		target := f
		if given(f) { // looked at, but not used
			target = scratch(f)
		}
		if problem, mend := assign(target, values); problem != "" {
			at(value, problem, mend)
			continue
		}
		n++
	}
	return n, problems
}

// scratch is a flag of the same kind that nobody reads.
func scratch(f *pflag.Flag) *pflag.Flag {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	switch f.Value.Type() {
	case "bool":
		flags.Bool(f.Name, false, "")
	case "int":
		flags.Int(f.Name, 0, "")
	case "stringSlice":
		flags.StringSlice(f.Name, nil, "")
	default:
		flags.String(f.Name, "", "")
	}
	return flags.Lookup(f.Name)
}

// known says which setting may have been meant.
func known(flags *pflag.FlagSet, name string) string {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '-' || r == '_' {
				return -1
			}
			return r
		}, strings.ToLower(s))
	}
	var names []string
	meant := ""
	flags.VisitAll(func(f *pflag.Flag) {
		if setting(f) {
			names = append(names, f.Name)
			if plain(f.Name) == plain(name) {
				meant = f.Name
			}
		}
	})
	if meant != "" {
		return "write " + meant
	}
	return "there are " + strings.Join(names, ", ")
}

func envName(f *pflag.Flag) string {
	return "LABD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// configure completes a command's flags from environment and file.
func configure(flags *pflag.FlagSet, file string, getenv func(string) string) error {
	var problems []string
	flags.VisitAll(func(f *pflag.Flag) {
		value := getenv(envName(f))
		switch {
		case !setting(f):
		case f.Changed: // the command looks at it
		case value != "":
			values := []string{value}
			if _, ok := f.Value.(pflag.SliceValue); ok {
				values = strings.Split(value, ",")
			}
			if problem, mend := assign(f, values); problem != "" {
				problems = append(problems, fmt.Sprintf("%s: %s; %s", envName(f), problem, mend))
			}
		}
	})
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("cannot read configuration: %w", err)
		}
		_, wrong := readConfig(data, flags, func(f *pflag.Flag) bool { return f.Changed || getenv(envName(f)) != "" })
		for _, p := range wrong {
			problems = append(problems, file+":"+p.String())
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("cannot use the configuration:\n%s", strings.Join(problems, "\n"))
	}
	return nil
}

// configFile is the file to read; "" if there is none.
func configFile(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	_, err := os.Stat(DefaultConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return DefaultConfig, err
}

// allSettings are the flags of `labd up`, free to be set, and what looks at
// them together.
func allSettings() (flags *pflag.FlagSet, together func() error) {
	var l layout.Layout
	cmd := upCommand(&l)
	cmd.Flags().StringVar(&l.Root, "data-dir", layout.DefaultDataDir, "")
	return cmd.Flags(), func() error { return cmd.PreRunE(cmd, nil) }
}

func configCommand(named *string) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at the configuration file"}
	cmd.AddCommand(&cobra.Command{
		Use:   "check [FILE]",
		Short: "Tell everything that is wrong with a configuration file",
		Long: `Tell everything that is wrong with a configuration file, with its line and what
would be right. Without FILE it is the one labd would read: --config, LABD_CONFIG
or ` + DefaultConfig + `. The exit code is 1 if there is anything.`,
		Example: "  labd config check\n  labd config check ./labd.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := configFile(*named)
			if len(args) > 0 {
				file, err = args[0], nil
			}
			if err != nil {
				return err
			}
			if file == "" {
				return fmt.Errorf("cannot check %q: it does not exist; labd does without, or name another file", DefaultConfig)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("cannot read configuration: %w", err)
			}
			n, problems := checkConfig(data)
			for _, p := range problems {
				fmt.Fprintf(cmd.OutOrStdout(), "%s:%s\n", file, p)
			}
			if len(problems) > 0 {
				return exitCode(1)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d settings, all good\n", file, n)
			return nil
		},
	})
	return cmd
}

// checkConfig looks at a file alone, whatever flags and environment say.
func checkConfig(data []byte) (n int, problems []api.Problem) {
	flags, together := allSettings()
	n, problems = readConfig(data, flags, func(*pflag.Flag) bool { return false })
	if len(problems) == 0 {
		if err := together(); err != nil {
			problems = []api.Problem{{Message: err.Error()}}
		}
	}
	return n, problems
}

// prepare reads the configuration before any command but those about the
// configuration itself. Commands without `up`'s flags take what they share.
func prepare(cmd *cobra.Command, named string, getenv func(string) string, setenv func(name, value string) error) error {
	for c := cmd; c != nil; c = c.Parent() {
		if slices.Contains([]string{"config", "help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, c.Name()) {
			return nil
		}
	}
	file, err := configFile(named)
	if err != nil {
		return fmt.Errorf("cannot read configuration: %w", err)
	}
	if cmd.Name() == "up" {
		return configure(cmd.Flags(), file, getenv)
	}
	all, _ := allSettings()
	if err := configure(all, file, getenv); err != nil {
		return err
	}
	for _, shared := range []string{"data-dir", "plans", "default-plan"} {
		if f := cmd.Flags().Lookup(shared); f != nil && !f.Changed {
			if err := f.Value.Set(all.Lookup(shared).Value.String()); err != nil {
				return err
			}
		}
	}
	// Commands that may make the pool before `up` does ask the environment.
	if size := all.Lookup("pool-size").Value.String(); size != "" {
		return setenv("LABD_POOL_SIZE", size)
	}
	return nil
}
