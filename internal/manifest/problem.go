package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity tells whether a problem refuses the manifest.
type Severity string

const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Problem is one thing wrong with a manifest. Line and Column count from 1
// and are 0 when unknown (a manifest that came as JSON has none). Fix says
// what would be right; it may be empty.
type Problem struct {
	Severity Severity `json:"severity"`
	File     string   `json:"file,omitempty"`
	Path     string   `json:"path,omitempty"`
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	Message  string   `json:"message"`
	Fix      string   `json:"fix,omitempty"`
}

// String is "file:line:column: path: message; fix", without what is unknown.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" || p.Line > 0 {
		b.WriteString(p.File)
		if p.Line > 0 {
			if p.File == "" {
				b.WriteString("line ")
			} else {
				b.WriteString(":")
			}
			fmt.Fprintf(&b, "%d", p.Line)
			if p.Column > 0 {
				fmt.Fprintf(&b, ":%d", p.Column)
			}
		}
		b.WriteString(": ")
	}
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Fix != "" {
		b.WriteString("; ")
		b.WriteString(p.Fix)
	}
	return b.String()
}

// Problems are in the order of the document.
type Problems []Problem

// Error prints one problem a line.
func (ps Problems) Error() string { return ps.String() }

func (ps Problems) String() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Errors are those that refuse the manifest.
func (ps Problems) Errors() Problems { return ps.only(Error) }

// Warnings are those an author should see and may ignore.
func (ps Problems) Warnings() Problems { return ps.only(Warning) }

// Err is nil if there are only warnings, else the errors.
func (ps Problems) Err() error {
	if errs := ps.Errors(); len(errs) > 0 {
		return errs
	}
	return nil
}

func (ps Problems) only(s Severity) Problems {
	var out Problems
	for _, p := range ps {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// sorted orders by place; problems without a place keep their order at the end.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}
