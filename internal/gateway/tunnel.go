package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"sandlot/api"
	"sandlot/internal/play"
)

// tunnel gives whoever holds its cookie the TCP ports of one machine.
type tunnel struct {
	id      string
	play    play.ID
	machine string
	noSSH   bool
	code    [sha256.Size]byte

	mu      sync.Mutex
	cookies [][sha256.Size]byte
	sockets int
	pending map[string]*pending // by connection id
}

// pending is a connection made inside the machine that waits to be fetched.
type pending struct {
	conn  net.Conn
	timer *time.Timer
}

// OpenTunnel waits until the machine's sshd answers, authorises the key if
// there is one, and returns the tunnel's id and login code. It holds the
// caller up to Hold and then answers NotYet.
func (g *Gateway) OpenTunnel(ctx context.Context, p api.Play, req api.TunnelRequest) (id, code string, err error) {
	machine, err := machineOf(p, req.Machine)
	if err != nil {
		return "", "", err
	}
	if machine.NoSSH && req.SSHPubKey != "" {
		return "", "", noSSH(machine.Name)
	}
	var key string
	if req.SSHPubKey != "" {
		if key, err = authorizedKey(req.SSHPubKey); err != nil {
			return "", "", err
		}
	}
	playID := play.ID(p.ID)
	if err := g.await(ctx, playID, machine.Name, play.ConditionReady); err != nil {
		return "", "", err
	}
	if key != "" {
		user := req.SSHUser
		if user == "" {
			user = machine.DefaultUser()
		}
		authorizeCtx, cancel := context.WithTimeout(ctx, g.DialTimeout)
		err := g.machines.Authorize(authorizeCtx, playID, machine.Name, user, key)
		cancel()
		if err != nil {
			return "", "", unlessRefusal(err, api.Unreachable, "cannot authorise the SSH key on machine %q: %v", machine.Name, err)
		}
	}
	return g.addTunnel(playID, machine)
}

func (g *Gateway) addTunnel(id play.ID, machine api.Machine) (tunnelID, code string, err error) {
	var b [16]byte
	if _, err := io.ReadFull(g.Random, b[:]); err != nil {
		return "", "", fmt.Errorf("cannot make tunnel id: %v", err)
	}
	if code, err = secret(g.Random); err != nil {
		return "", "", err
	}
	t := &tunnel{
		id:      hex.EncodeToString(b[:]),
		play:    id,
		machine: machine.Name,
		noSSH:   machine.NoSSH,
		code:    sha256.Sum256([]byte(code)),
		pending: map[string]*pending{},
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tunnels[t.id] = t
	g.order[id] = append(g.order[id], t)
	// Clients never close a tunnel: each labctl leaves one behind.
	for i := 0; len(g.order[id]) > maxTunnels && i < len(g.order[id])-1; {
		if old := g.order[id][i]; old.idle() {
			delete(g.tunnels, old.id)
			g.order[id] = append(g.order[id][:i:i], g.order[id][i+1:]...)
		} else {
			i++
		}
	}
	return t.id, code, nil
}

// Login trades a tunnel's code for a cookie. It may be repeated: clients fetch
// the login URL again when a reply gets lost. Each time gives a new cookie.
func (g *Gateway) Login(tunnelID, code string) (cookie string, err error) {
	g.mu.Lock()
	t := g.tunnels[tunnelID]
	g.mu.Unlock()
	if t == nil || sha256.Sum256([]byte(code)) != t.code {
		return "", api.Errorf(api.Unauthenticated, "this login link is not valid: open the tunnel again")
	}
	if cookie, err = secret(g.Random); err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.cookies) >= maxCookies {
		return "", api.Errorf(api.TooMany, "this login link was used %d times: open the tunnel again", maxCookies)
	}
	t.cookies = append(t.cookies, sha256.Sum256([]byte(cookie)))
	return cookie, nil
}

// tunnel returns the tunnel that the cookie opens.
func (g *Gateway) tunnel(id, cookie string) (*tunnel, error) {
	g.mu.Lock()
	t := g.tunnels[id]
	g.mu.Unlock()
	if t != nil && t.opens(cookie) {
		return t, nil
	}
	return nil, api.Errorf(api.Unauthenticated, "the tunnel's cookie is missing or wrong: open the tunnel again")
}

// Comparing hashes of 256 random bits in variable time gives nothing away: an
// attacker cannot choose a hash's prefix.
func (t *tunnel) opens(cookie string) bool {
	sum := sha256.Sum256([]byte(cookie))
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.cookies {
		if c == sum {
			return true
		}
	}
	return false
}

func (t *tunnel) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sockets == 0
}

func (t *tunnel) count(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sockets += n
}

// wait keeps a connection made inside until take fetches it, at most ttl.
func (t *tunnel) wait(cid string, conn net.Conn, ttl time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) >= maxPending {
		return false
	}
	t.pending[cid] = &pending{conn: conn, timer: time.AfterFunc(ttl, func() {
		if c := t.take(cid); c != nil {
			c.Close()
		}
	})}
	return true
}

// take fetches a waiting connection once; nil if it is not there.
func (t *tunnel) take(cid string) net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pending[cid]
	if p == nil {
		return nil
	}
	delete(t.pending, cid)
	p.timer.Stop()
	return p.conn
}

// drop closes every waiting connection.
func (t *tunnel) drop() {
	t.mu.Lock()
	var cids []string
	for cid := range t.pending {
		cids = append(cids, cid)
	}
	t.mu.Unlock()
	for _, cid := range cids {
		if c := t.take(cid); c != nil {
			c.Close()
		}
	}
}

// Target is a decoded tunnel payload.
type Target struct {
	Kind    string // "dial", "listen" or "connect"
	Address string // host:port, or the connection id of "connect"
}

// ParsePayload decodes the last part of a tunnel socket's path: standard
// base64 of "host:port", "dial:host:port", "listen:host:port" or
// "connect:id".
func ParsePayload(payload string) (Target, error) {
	bad := func(why string) (Target, error) {
		return Target{}, api.Errorf(api.Invalid, "cannot read tunnel target: %s; want base64 of host:port, listen:host:port or connect:id", why)
	}
	if len(payload) > 1024 {
		return bad("too long")
	}
	raw, err := base64.StdEncoding.DecodeString(payload)
	if err != nil {
		// Some libraries drop the padding or use the URL alphabet.
		if raw, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(payload, "=")); err != nil {
			return bad("not base64")
		}
	}
	text := strings.TrimSpace(string(raw))
	kind, rest, ok := strings.Cut(text, ":")
	if !ok {
		return bad("no colon")
	}
	switch kind {
	case "dial", "listen":
	case "connect":
		return Target{Kind: kind, Address: rest}, nil
	default:
		kind, rest = "dial", text
	}
	if _, port, err := net.SplitHostPort(rest); err != nil {
		return bad("not host:port")
	} else if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return bad("no such port")
	}
	return Target{Kind: kind, Address: rest}, nil
}

func noSSH(machine string) error {
	return api.Errorf(api.Forbidden, "machine %q takes no SSH and no terminals: its manifest says noSSH", machine)
}

// authorizedKey returns the one authorized_keys line in s without its newline.
func authorizedKey(s string) (string, error) {
	line := strings.TrimSpace(s)
	if len(line) > 16<<10 || strings.ContainsAny(line, "\r\n\x00") {
		return "", api.Errorf(api.Invalid, "cannot read SSH public key: want one line of authorized_keys")
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil {
		return "", api.Errorf(api.Invalid, "cannot read SSH public key: %v", err)
	}
	return line, nil
}
