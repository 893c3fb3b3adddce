package cli

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// spinAfter is how long a wait is too short to be worth a word.
const spinAfter = 300 * time.Millisecond

// spin shows on a terminal that a wait goes on, until stop; elsewhere it shows
// nothing.
func (a *App) spin(text string) (stop func()) {
	if _, ok := terminalOf(a.Err); !ok {
		return func() {}
	}
	bar := progressbar.NewOptions(-1,
		progressbar.OptionSetWriter(a.Err),
		progressbar.OptionSetDescription(clean(text)),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionClearOnFinish(),
	)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		next := time.NewTimer(spinAfter)
		defer next.Stop()
		for {
			select {
			case <-done:
				_ = bar.Finish()
				return
			case <-next.C:
				_ = bar.Add(1)
				next.Reset(100 * time.Millisecond)
			}
		}
	}()
	return func() { close(done); <-ended }
}
