package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
)

// patience is how long a person at a terminal waits for an answer.
const patience = 3 * time.Minute

// converse runs a program at a terminal of 24 rows and 80 columns and does
// what the script says, line by line:
//
//	expect REGEXP    wait until it appears, after what was expected before
//	never REGEXP     it has not been shown at all
//	send TEXT        type it; \n and \x03 are the keys Enter and Ctrl-C
//	resize ROWS COLS
//	exit CODE        wait for the program's end
//
// It returns everything the terminal showed.
func converse(script string, env, argv []string) (transcript string, err error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	if path, found := lookPath(argv[0], env); found {
		cmd.Path, cmd.Err = path, nil
	}
	cmd.Env = append(env, "TERM=xterm-256color")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		return "", err
	}
	s := &screen{more: make(chan struct{})}
	go s.read(terminal)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Kill()
		_ = terminal.Close()
		transcript = s.all()
		if err != nil {
			err = fmt.Errorf("%w; the terminal showed:\n%s", err, transcript)
		}
	}()
	for line := range strings.Lines(script) {
		verb, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch verb {
		case "", "#":
		case "expect":
			err = s.expect(rest)
		case "never":
			err = s.never(rest)
		case "send":
			var text string
			if text, err = strconv.Unquote(`"` + rest + `"`); err == nil {
				_, err = io.WriteString(terminal, text)
			}
		case "resize":
			var size pty.Winsize
			if _, err = fmt.Sscan(rest, &size.Rows, &size.Cols); err == nil {
				err = pty.Setsize(terminal, &size)
			}
		case "exit":
			select {
			case end := <-exited:
				code := 0
				var exit *exec.ExitError
				if errors.As(end, &exit) {
					code = exit.ExitCode()
				}
				if strconv.Itoa(code) != rest {
					err = fmt.Errorf("exit code %d, want %s", code, rest)
				}
			case <-time.After(patience):
				err = errors.New("the program does not end")
			}
		default:
			err = fmt.Errorf("a terminal script has no %q", verb)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
	}
	return "", nil
}

func lookPath(program string, env []string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if path, ok := strings.CutPrefix(env[i], "PATH="); ok {
			for _, dir := range filepath.SplitList(path) {
				if found, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
					return found, true
				}
			}
		}
	}
	return "", false
}

// screen is what a terminal has shown, and how far the script has read.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen int
	more chan struct{} // closed and replaced at every output
	end  bool
}

func (s *screen) read(from io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		s.mu.Lock()
		s.text.Write(buf[:n])
		s.end = err != nil
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) never(pattern string) error {
	bad, err := regexp.Compile(pattern)
	if err == nil && bad.MatchString(s.all()) {
		err = errors.New("it was shown")
	}
	return err
}

func (s *screen) expect(pattern string) error {
	want, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		at := want.FindIndex(s.text.Bytes()[s.seen:])
		if at != nil {
			s.seen += at[1]
		}
		more, end := s.more, s.end
		s.mu.Unlock()
		switch {
		case at != nil:
			return nil
		case end:
			return errors.New("the program ended")
		}
		select {
		case <-more:
		case <-timeout:
			return errors.New("it does not appear")
		}
	}
}
