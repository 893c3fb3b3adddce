// Package doctor finds out what this host can do. In goes where labd keeps
// its data, and callbacks for what other packages measure; out comes one
// Check for each thing a lab needs, with what to do about it. Nothing it
// tries is left on the host.
//
// doctor.go holds the result and how it is printed, verdict.go the judgement
// of facts (both pure), probe.go and kernel.go gather the facts.
package doctor

import (
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"
)

// Level says how much a check that is not OK matters.
type Level string

const (
	Error   Level = "error"   // no lab can run
	Warning Level = "warning" // labs run, with less
)

// Check is the verdict on one thing. Its JSON form is one entry of
// `labd doctor -o json`.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Level  Level  `json:"level,omitempty"` // empty if OK
	Detail string `json:"detail"`          // what was found
	Mend   string `json:"mend,omitempty"`  // what to do; may be set on an OK one as a hint
}

// Report is all checks in the order they are shown.
type Report struct {
	// OK tells that labs can run: no check has level Error.
	OK     bool    `json:"ok"`
	Checks []Check `json:"checks"`
}

// NewReport sums checks up.
func NewReport(checks []Check) Report {
	r := Report{OK: true, Checks: checks}
	for _, c := range checks {
		if !c.OK && c.Level == Error {
			r.OK = false
		}
	}
	return r
}

// WriteText prints one line for each check and one for all:
//
//	ok    qemu     QEMU 7.2.22
//	warn  kvm      does not work: …; to mend: …
func (r Report) WriteText(w io.Writer) error {
	width := 0
	for _, c := range r.Checks {
		width = max(width, utf8.RuneCountInString(oneLine(c.Name)))
	}
	var b strings.Builder
	for _, c := range r.Checks {
		b.WriteString(mark(c))
		b.WriteString(strings.Repeat(" ", 6-len(mark(c))))
		name := oneLine(c.Name)
		b.WriteString(name)
		b.WriteString(strings.Repeat(" ", width-utf8.RuneCountInString(name)+2))
		b.WriteString(oneLine(c.Detail))
		switch {
		case c.Mend != "" && c.OK:
			b.WriteString(" (" + oneLine(c.Mend) + ")")
		case c.Mend != "":
			b.WriteString("; to mend: " + oneLine(c.Mend))
		}
		b.WriteByte('\n')
	}
	if r.OK {
		b.WriteString("This host can run labs.\n")
	} else {
		b.WriteString("This host cannot run labs yet: mend what says FAIL.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func mark(c Check) string {
	switch {
	case c.OK:
		return "ok"
	case c.Level == Error:
		return "FAIL"
	}
	return "warn"
}

// oneLine keeps what programs say from breaking the table.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// WriteJSON prints the report as one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	if r.Checks == nil {
		r.Checks = []Check{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}
