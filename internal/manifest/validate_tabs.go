package manifest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const tabsPath = "playground.tabs"

// machineNames are the names tabs and tasks can use; nil when a partial
// manifest leaves the machines to its base.
func (c *checker) machineNames() []string {
	if c.m.Playground.Machines == nil {
		return nil
	}
	names := make([]string, len(c.m.Playground.Machines))
	for i, m := range c.m.Playground.Machines {
		names[i] = m.Name
	}
	return names
}

func (c *checker) machineRef(at, name string) {
	names := c.machineNames()
	if name == "" || names == nil {
		return
	}
	if slices.Contains(names, name) {
		return
	}
	fix := "machines here are " + strings.Join(names, ", ")
	if near := nearest(name, names); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	c.errorf(at, fix, "there is no machine %q", short(name))
}

// TabKind is a tab's kind, the default filled in.
func (t Tab) TabKind() string {
	if t.Kind == "" {
		return "terminal"
	}
	return t.Kind
}

// onMachine tells whether tabs of this kind belong to a machine.
func (t Tab) onMachine() bool {
	switch t.TabKind() {
	case "terminal", "ide", "http-port":
		return true
	}
	return false
}

// TabID is a tab's id: its own, or made from its kind and machine. machines
// are the names of the play's machines.
func (t Tab) TabID(machines []string) string {
	if t.ID != "" {
		return t.ID
	}
	machine := t.Machine
	if machine == "" && t.onMachine() && len(machines) > 0 {
		machine = machines[0]
	}
	if machine == "" {
		return t.TabKind()
	}
	return t.TabKind() + "-" + machine
}

func (c *checker) tabs() {
	tabs := c.m.Playground.Tabs
	if tabs == nil && c.mode == Update {
		c.missing(tabsPath, `write "tabs: []" for the default ones`)
	}
	if len(tabs) > MaxTabs {
		c.errorf(index(tabsPath, MaxTabs), fmt.Sprintf("a play has at most %d", MaxTabs), "%d tabs", len(tabs))
	}
	machines := c.machineNames()
	first := map[string]int{}
	for i, t := range tabs {
		at := index(tabsPath, i)
		if id := t.TabID(machines); !c.brokenTab(at) && slices.Contains(TabKinds, t.TabKind()) {
			if before, ok := first[id]; ok {
				c.errorf(join(at, "id"), fmt.Sprintf(`give it another, as "id: %s-2"`, short(id)), "Tab IDs must be unique. %q is also that of %s", short(id), index(tabsPath, before))
			} else {
				first[id] = i
			}
		}
		c.machineRef(join(at, "machine"), t.Machine)
		c.tab(at, t)
	}
}

// brokenTab tells whether a part of the tab's id could not be read.
func (c *checker) brokenTab(at string) bool {
	return c.m.source != nil && (c.m.source.isBroken(join(at, "id")) || c.m.source.isBroken(join(at, "kind")) || c.m.source.isBroken(join(at, "machine")))
}

// What is sent in a request's head stays one word.
var (
	hostRewritePattern = regexp.MustCompile(`^[^\x00-\x20\x7f-\x9f/]*$`)
	pathRewritePattern = regexp.MustCompile(`^[^\x00-\x20\x7f-\x9f]*$`)
)

func (c *checker) tab(at string, t Tab) {
	kind := t.TabKind()
	switch kind {
	case "editor", "vscode", "code":
		c.errorf(join(at, "kind"), fmt.Sprintf(`write "ide" (known are %s)`, strings.Join(TabKinds, ", ")), "%q is not a tab kind", kind)
		return
	}
	if !c.oneOf(join(at, "kind"), kind, "a tab kind", TabKinds) {
		return
	}
	c.plain(join(at, "id"), t.ID)
	c.plain(join(at, "name"), t.Name)
	if rewrite := join(at, "pathRewrite"); !pathRewritePattern.MatchString(t.PathRewrite) {
		c.errorf(rewrite, `write a path, like "/app"`, "%q is not a path", short(t.PathRewrite))
	}
	if host := join(at, "hostRewrite"); !hostRewritePattern.MatchString(t.HostRewrite) {
		c.errorf(host, `write a host's name, like "localhost"`, "%q is not a host", short(t.HostRewrite))
	}
	if t.Name == "" && (kind == "http-port" || kind == "web-page") {
		c.missing(join(at, "name"), fmt.Sprintf("a tab of kind %s needs one", kind))
	}
	c.oneOf(join(at, "access"), t.Access, "an access", Accesses)
	c.oneOf(join(at, "pane"), t.Pane, "a pane", Panes)
	switch number := join(at, "number"); {
	case kind == "http-port" && t.Number == 0 && !c.given(number):
		c.missing(number, `name the port, as "number: 8080"`)
	case kind == "http-port" && (t.Number < 1 || t.Number > 65535):
		c.errorf(number, "write 1 to 65535", "%d is not a port", t.Number)
	}
	if kind == "web-page" {
		c.webPage(join(at, "url"), t.URL)
	}
	if kind != "http-port" {
		for _, field := range []struct {
			name  string
			given bool
		}{
			{"number", t.Number != 0}, {"tls", t.TLS}, {"hostRewrite", t.HostRewrite != ""}, {"pathRewrite", t.PathRewrite != ""},
		} {
			if field.given {
				c.warnf(join(at, field.name), `leave it out, or write "kind: http-port"`, "means nothing for a tab of kind %s", kind)
			}
		}
	}
	if kind != "web-page" && t.URL != "" {
		c.warnf(join(at, "url"), `leave it out, or write "kind: web-page"`, "means nothing for a tab of kind %s", kind)
	}
	if kind == "terminal" || kind == "ide" {
		for i, m := range c.m.Playground.Machines {
			if m.NoSSH && (m.Name == t.Machine || (t.Machine == "" && i == 0)) {
				c.warnf(at, "remove the tab", "machine %q has noSSH: the tab will not open", m.Name)
			}
		}
	}
}

// webPage accepts web addresses only: a "javascript:" one would act as the user.
func (c *checker) webPage(at, address string) {
	if address == "" {
		c.missing(at, `name the page, as "url: https://example.com"`)
		return
	}
	parsed, err := url.Parse(address)
	if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" {
		c.errorf(at, "write a whole address that starts with https:// or http://", "%q is not a web address", short(address))
	}
}
