package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"sandlot/api"
)

// sgr is a colour sequence: the one kind of escape that is harmless.
var sgr = regexp.MustCompile(`^\x1b\[[0-9;]*m`)

// clean makes text from machines and other users safe to show on a terminal:
// it drops control characters that could move the cursor, retitle the window
// or answer on the user's behalf. Colours stay.
func clean(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if seq := sgr.FindString(s[i:]); seq != "" {
			b.WriteString(seq)
			i += len(seq)
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// colours are the sequences that clean lets pass.
var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// colourless is for tables, whose cells others wrote, and for what does not go
// to a terminal.
func colourless(s string) string { return colours.ReplaceAllString(s, "") }

// printAs prints v as JSON or YAML, with JSON's field names in both.
func printAs(w io.Writer, format string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if format == "yaml" {
		// JSON is YAML: reading it as such keeps the order of fields.
		var doc yaml.Node
		if err := yaml.Unmarshal(raw, &doc); err != nil {
			return err
		}
		blockStyle(&doc)
		if raw, err = yaml.Marshal(&doc); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(raw), "\n"))
	return err
}

func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		blockStyle(child)
	}
}

// table prints rows under a head; cells are cleaned.
func table(w io.Writer, head []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = strings.NewReplacer("\n", " ", "\t", " ").Replace(colourless(clean(cell)))
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return tw.Flush()
}

// outputFlag adds -o with its choices; the first one is the default.
func outputFlag(cmd *cobra.Command, choices ...string) *choice {
	return shortOutputFlag(cmd, "o", choices)
}

// shortOutputFlag is outputFlag by another letter, "" for none: some commands of
// the reference client's grammar mean something else by -o.
func shortOutputFlag(cmd *cobra.Command, short string, choices []string) *choice {
	c := &choice{choices: choices, value: choices[0]}
	cmd.Flags().VarP(c, "output", short, "output format: "+strings.Join(choices, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// choice is a flag with a fixed set of values.
type choice struct {
	choices []string
	value   string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "string" }
func (c *choice) Set(v string) error {
	for _, known := range c.choices {
		if v == known {
			c.value = v
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(c.choices, ", "))
}

func (a *App) ago(timestamp string) string {
	t := api.ParseTime(timestamp)
	if t.IsZero() {
		return "-"
	}
	return humanize.RelTime(t, a.Now(), "ago", "from now")
}

// expiry is when a play ends, counted from now.
func expiry(p api.Play) string {
	if p.ExpiresIn <= 0 {
		return "never"
	}
	return "in " + (time.Duration(p.ExpiresIn) * time.Millisecond).Round(time.Second).String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
