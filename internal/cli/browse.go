package cli

import (
	"io"
	"net/url"

	"github.com/cli/browser"
)

// openURL opens the desktop's browser, which is not to write on our terminal.
func openURL(address string) error {
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	return browser.OpenURL(address)
}

// browse opens a web page that labd named; what is no web page, or where there
// is no browser, is printed instead.
func (a *App) browse(address string) {
	u, err := url.Parse(address)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && a.OpenURL(address) == nil {
		return
	}
	a.say(false, "Open it yourself: %s", address)
}
