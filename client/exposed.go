package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"sandlot/api"
)

// Ports lists the exposed ports of a play.
func (c *Client) Ports(ctx context.Context, id string) ([]api.Port, error) {
	return call[[]api.Port](ctx, c, http.MethodGet, playPath(id, "/ports"), nil)
}

// ExposePort exposes a port, or returns the one that is the same.
func (c *Client) ExposePort(ctx context.Context, id string, req api.Port) (api.Port, error) {
	return call[api.Port](ctx, c, http.MethodPost, playPath(id, "/ports"), req)
}

// PortLink returns an address that opens a private port once, in any browser.
func (c *Client) PortLink(ctx context.Context, id, port string) (string, error) {
	reply, err := call[api.Conn](ctx, c, http.MethodPost, playPath(id, "/ports/"+url.PathEscape(port)+"/links"), nil)
	return reply.URL, err
}

// RemovePort exposes a port no more.
func (c *Client) RemovePort(ctx context.Context, id, port string) error {
	return c.do(ctx, http.MethodDelete, playPath(id, "/ports/"+url.PathEscape(port)), nil, nil)
}

// ScanPorts finds ports that answer to HTTP or HTTPS, of one machine or all.
func (c *Client) ScanPorts(ctx context.Context, id, machine string) ([]api.ScannedPort, error) {
	path := playPath(id, "/ports/scan")
	if machine != "" {
		path += "?machine=" + url.QueryEscape(machine)
	}
	return call[[]api.ScannedPort](ctx, c, http.MethodPost, path, nil)
}

// Shells lists the exposed shells of a play.
func (c *Client) Shells(ctx context.Context, id string) ([]api.Shell, error) {
	return call[[]api.Shell](ctx, c, http.MethodGet, playPath(id, "/shells"), nil)
}

// ExposeShell exposes a shell, or returns the one that is the same.
func (c *Client) ExposeShell(ctx context.Context, id string, req api.Shell) (api.Shell, error) {
	return call[api.Shell](ctx, c, http.MethodPost, playPath(id, "/shells"), req)
}

// RemoveShell exposes a shell no more.
func (c *Client) RemoveShell(ctx context.Context, id, shell string) error {
	return c.do(ctx, http.MethodDelete, playPath(id, "/shells/"+url.PathEscape(shell)), nil, nil)
}

// PortForwards lists the saved port forwards of a play.
func (c *Client) PortForwards(ctx context.Context, id string) ([]api.PortForward, error) {
	return call[[]api.PortForward](ctx, c, http.MethodGet, playPath(id, "/port-forwards"), nil)
}

// SavePortForward adds one to the list.
func (c *Client) SavePortForward(ctx context.Context, id string, f api.PortForward) error {
	return c.do(ctx, http.MethodPost, playPath(id, "/port-forwards"), f, nil)
}

// RemovePortForward removes one by its index, from 0.
func (c *Client) RemovePortForward(ctx context.Context, id string, index int) error {
	return c.do(ctx, http.MethodDelete, playPath(id, "/port-forwards/"+strconv.Itoa(index)), nil, nil)
}
