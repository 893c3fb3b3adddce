package server

import (
	"fmt"
	"slices"
	"strings"
)

// Rule is a route of the table as tests see it.
type Rule struct {
	Method, Path, Access, Scope, Summary string
	Page                                 bool
}

// Rules are all routes.
func Rules() []Rule {
	var list []Rule
	for i, rt := range slices.Concat(routes, pages, views) {
		list = append(list, Rule{rt.method, rt.path, string(rt.access), rt.scope(), rt.about.summary, i >= len(routes)})
	}
	return list
}

// Cells are the columns of the table of access: who calls.
var Cells = []string{"nobody", "wrong", "other", "token", "narrow", "administrator", "owner"}

const yes = "yes"

// Allowed says what each of Cells gets by a rule: yes, or the status that
// refuses. nil means that there is no such rule.
func Allowed(rule string) []string {
	switch access(rule) {
	case anyone, page:
		return []string{yes, yes, yes, yes, yes, yes, yes}
	case visitor:
		return []string{yes, "401", yes, yes, "403", yes, yes}
	case session, ticket:
		return []string{"401", "401", "401", "401", "401", "401", "401"}
	case user:
		return []string{"401", "401", yes, yes, "403", yes, yes}
	case personal:
		return []string{"401", "401", yes, "403", "403", yes, yes}
	case starter, reader, author, owner:
		return []string{"401", "401", "404", yes, "403", yes, yes}
	case administrator, operator:
		return []string{"401", "401", "403", "403", "403", yes, "403"}
	}
	return nil
}

// AccessDocument is docs/access.md.
func AccessDocument() string {
	var b strings.Builder
	b.WriteString(`# Who may do what

Made from the route table (internal/server/routes.go, pages.go and ui.go) by
` + "`go test ./internal/server -run Access -update`" + `; ` + "`internal/server.TestAccess`" + ` shows each cell with real accounts,
plays and playgrounds. What stands in a cell is what this caller gets: yes, or the status that refuses.

| caller | who that is |
|---|---|
| nobody | no credentials |
| wrong | credentials that are wrong, expired, revoked, or of a disabled user |
| other | a signed-in user to whom the thing does not belong; for lists and the like, just a user |
| token | the owner's access token with the scope of the route |
| narrow | the owner's access token with every other scope |
| administrator | signed in; not the owner |
| owner | signed in; the thing is theirs |

| rule | means |
|---|---|
| anyone | no credentials needed |
| visitor | none needed; who signs in sees more, wrong ones are refused |
| the session itself | the session's own id and token, confirmed or pending |
| user | any signed-in user, for what is their own |
| user, no token | the same, but not by an access token: it must not beget other credentials |
| canStart, canRead | the playground's ` + "`accessControl`" + `; its owner and administrators always. Who is on no list gets 404, who is on another one 403 |
| playground's owner | and administrators; 404 to who may not even read it, 403 to others |
| play's owner | and administrators; for others it does not exist |
| administrator | |
| operator | an administrator, or a program on this host (which is why its cells hold for other hosts) |
| ticket | a credential in the URL or in a cookie, made by another route for one thing and a short time |
| page | for browsers: pages ask who is not signed in to sign in, and show nothing of anybody before |

Requests that a browser signs in by its cookie, and that change something or open a WebSocket, must come from labd's own pages:
else 403. In single-user mode whoever is on this host is the administrator.

`)
	b.WriteString("| route | rule | scope of tokens | " + strings.Join(Cells, " | ") + " |\n|---|---|---" + strings.Repeat("|---", len(Cells)) + "|\n")
	for _, r := range Rules() {
		scope := r.Scope
		if scope == "" {
			scope = "–"
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s | %s |\n", r.Method, r.Path, r.Access, scope, strings.Join(Allowed(r.Access), " | "))
	}
	return b.String()
}
