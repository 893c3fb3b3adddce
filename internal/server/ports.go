package server

import (
	"net/http"
	"net/url"
	"strconv"

	"sandlot/api"
)

func listPorts(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	ports, err := orEmpty(s.Ports.Ports(c.Context(), c.user, id))
	for i := range ports {
		s.addressPort(c, &ports[i])
	}
	return ports, err
}

func exposePort(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	req, err := decode[api.Port](c)
	if err != nil {
		return nil, err
	}
	p, err := s.Ports.ExposePort(c.Context(), c.user, id, req)
	if err != nil {
		return nil, err
	}
	s.addressPort(c, &p)
	return p, nil
}

func removePort(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	if err := s.Ports.RemovePort(c.Context(), c.user, id, c.PathValue("port")); err != nil {
		return nil, err
	}
	s.Visitors.CloseExposed(id, c.PathValue("port"))
	return struct{}{}, nil
}

// linkPort answers with an address that opens a private port once, without a
// signed-in browser.
func linkPort(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	ports, err := s.Ports.Ports(c.Context(), c.user, id)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if p.ID != c.PathValue("port") {
			continue
		}
		code, err := s.Visitors.Invite(id, p.ID, c.login())
		if err != nil {
			return nil, err
		}
		return api.Conn{URL: s.front(c.Request, p.ID) + enterPath + "?code=" + url.QueryEscape(code)}, nil
	}
	return nil, api.Errorf(api.NotFound, "play %s exposes no port %q", id, c.PathValue("port"))
}

// enterPort hands a signed-in browser over to a private port's, or shell's, own
// host name: a code that is good once, since cookies of here must not be seen
// there.
func enterPort(s *Server, w http.ResponseWriter, c *call) error {
	x, err := s.exposure(c.Request, c.PathValue("port"))
	if err != nil {
		return err
	}
	mine, err := s.mayUse(c, x.play)
	if err != nil {
		return err
	}
	if !mine {
		return errNothingExposed
	}
	code, err := s.Visitors.Invite(x.play, x.id, c.login())
	if err != nil {
		return err
	}
	to := url.Values{"code": {code}, "to": {localPath(c.URL.Query().Get("to"))}}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, c.Request, s.front(c.Request, x.id)+enterPath+"?"+to.Encode(), http.StatusSeeOther)
	return nil
}

func scanPorts(s *Server, c *call) (any, error) {
	p, err := c.play(s)
	if err != nil {
		return nil, err
	}
	return orEmpty(s.Scanner.ScanPorts(c.Context(), p, c.URL.Query().Get("machine")))
}

func listShells(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	shells, err := orEmpty(s.Shells.Shells(c.Context(), c.user, id))
	for i := range shells {
		s.addressShell(c, &shells[i])
	}
	return shells, err
}

func exposeShell(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	req, err := decode[api.Shell](c)
	if err != nil {
		return nil, err
	}
	shell, err := s.Shells.ExposeShell(c.Context(), c.user, id, req)
	if err != nil {
		return nil, err
	}
	s.addressShell(c, &shell)
	return shell, nil
}

func removeShell(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	if err := s.Shells.RemoveShell(c.Context(), c.user, id, c.PathValue("shell")); err != nil {
		return nil, err
	}
	s.Visitors.CloseExposed(id, c.PathValue("shell"))
	return struct{}{}, nil
}

func listForwards(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	return orEmpty(s.Forwards.PortForwards(c.Context(), c.user, id))
}

func addForward(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	f, err := decode[api.PortForward](c)
	if err != nil {
		return nil, err
	}
	return struct{}{}, s.Forwards.AddPortForward(c.Context(), c.user, id, f)
}

func removeForward(s *Server, c *call) (any, error) {
	id, err := c.playID()
	if err != nil {
		return nil, err
	}
	index, err := strconv.Atoi(c.PathValue("index"))
	if err != nil {
		return nil, api.Errorf(api.Invalid, "the port forward's index is %q: write a number from 0", c.PathValue("index"))
	}
	return struct{}{}, s.Forwards.RemovePortForward(c.Context(), c.user, id, index)
}
