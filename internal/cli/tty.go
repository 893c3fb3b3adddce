package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/term"
)

// Size of a terminal that does not know its own.
const (
	unknownCols = 80
	unknownRows = 40
)

// tty is the terminal that labctl's input comes from.
type tty struct{ fd int }

// tty returns the terminal on stdin, if it is one.
func (a *App) tty() (tty, bool) {
	fd, ok := terminalOf(a.In)
	return tty{fd}, ok
}

func (t tty) size() (rows, cols int) {
	cols, rows, err := term.GetSize(t.fd)
	if err != nil || cols <= 0 || rows <= 0 {
		return unknownRows, unknownCols
	}
	return rows, cols
}

// confirm asks a person; anything but yes is no.
func (a *App) confirm(question string) (bool, error) {
	fmt.Fprintf(a.Err, "%s [y/N] ", clean(question))
	answer, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil {
		return false, fmt.Errorf("cannot read the answer: %v", err)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// orNothing is err, or what a no means.
func orNothing(err error, nothing string) error {
	if err != nil {
		return err
	}
	return errors.New(nothing)
}

// raw hands every key to the machine, Ctrl-C included, until restore.
func (t tty) raw() (restore func(), err error) {
	before, err := term.MakeRaw(t.fd)
	if err != nil {
		return nil, err
	}
	return func() { _ = term.Restore(t.fd, before) }, nil
}

// onResize calls f with the size after each change, until ctx ends.
func (t tty) onResize(ctx context.Context, f func(rows, cols int)) {
	changed := make(chan os.Signal, 1)
	if len(resizeSignals) == 0 {
		return
	}
	signal.Notify(changed, resizeSignals...)
	go func() {
		defer signal.Stop(changed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				rows, cols := t.size()
				f(rows, cols)
			}
		}
	}()
}
