package server

import (
	"encoding/json"
	"strings"

	"sandlot/api"
)

// pageRoot is what the addresses of the page's own pages begin with, for who
// sent c, as it stands within a JSON string.
func (s *Server) pageRoot(c *call) string {
	quoted, err := json.Marshal(s.base(c, "http"))
	if err != nil {
		return ""
	}
	return strings.Trim(string(quoted), `"`)
}

func playPage(root, id string) string         { return root + "/plays/" + id }
func playgroundPage(root, name string) string { return root + "/playgrounds/" + name }

// withPages gives what a reply shows the address of its page: control knows
// nothing of addresses.
func (s *Server) withPages(c *call, reply any) any {
	root := s.base(c, "http")
	switch r := reply.(type) {
	case api.Play:
		r.PageURL = playPage(root, r.ID)
		return r
	case api.Playground:
		r.PageURL = playgroundPage(root, r.Name)
		return r
	case countedReply:
		switch body := r.body.(type) {
		case api.SearchResult:
			for i := range body.Items {
				body.Items[i].PageURL = playgroundPage(root, body.Items[i].Name)
			}
		case []api.OwnedPlay:
			for i := range body {
				body[i].PageURL = playPage(root, body[i].ID)
			}
		}
	}
	return reply
}
