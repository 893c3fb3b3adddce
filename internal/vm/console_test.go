package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitBoots(t *testing.T) {
	const (
		banner = "[    0.000000] Linux version 6.1.0-56 (gcc)\r\n"
		marker = "labinit: boot 0b1c\r\n"
		other  = "[    1.0] random: Linux version of it\n"
	)
	for name, tc := range map[string]struct {
		console string
		want    []string
	}{
		"empty":                       {"", nil},
		"no start":                    {"SeaBIOS\n", []string{"SeaBIOS\n"}},
		"firmware belongs to first":   {"SeaBIOS\n" + marker + "up\n", []string{"SeaBIOS\n" + marker + "up\n"}},
		"quiet boots":                 {marker + "up\n" + marker + "up\n", []string{marker + "up\n", marker + "up\n"}},
		"banner and marker are one":   {banner + other + marker + "up\n", []string{banner + other + marker + "up\n"}},
		"loud boots":                  {banner + marker + "a\n" + banner + marker, []string{banner + marker + "a\n", banner + marker}},
		"kernel died before labinit":  {banner + "Oops\n" + banner + marker, []string{banner + "Oops\n", banner + marker}},
		"last line without a newline": {marker + "a\nlabinit: boot 2", []string{marker + "a\n", "labinit: boot 2"}},
		"without a time stamp":        {"Linux version 6.1\n" + marker, []string{"Linux version 6.1\n" + marker}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, boot := range SplitBoots([]byte(tc.console)) {
				got = append(got, string(boot))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("boots (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTail(t *testing.T) {
	for name, tc := range map[string]struct {
		console string
		n       int
		want    string
	}{
		"fewer lines than asked": {"a\r\nb\r\n", 5, "a\nb"},
		"last ones":              {"a\nb\nc\n\n", 2, "b\nc"},
		"escapes are dropped":    {"\x1b[31mred\x1b[0m\ta\x00\xff\n", 1, "[31mred[0m a"},
		"long line":              {strings.Repeat("x", 1<<20) + "\n", 3, strings.Repeat("x", 200)},
		"nothing":                {"", 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Tail([]byte(tc.console), tc.n)); diff != "" {
				t.Errorf("tail (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadConsole(t *testing.T) {
	dir := t.TempDir()
	if got, err := ReadConsole(dir); err != nil || len(got) != 0 {
		t.Errorf("no console: got %q, %v", got, err)
	}
	for name, body := range map[string]string{ConsoleOldFile: "old\n", ConsoleFile: "new\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := ReadConsole(dir); err != nil || string(got) != "old\nnew\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
