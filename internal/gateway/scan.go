package gateway

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sandlot/api"
	"sandlot/internal/play"
)

// PortLister is the extra power of Machines that can tell what listens.
type PortLister interface {
	// Ports are the TCP ports that something in the machine listens on.
	Ports(ctx context.Context, id play.ID, machine string) ([]int, error)
}

const (
	maxScanned  = 64 // ports of one machine
	scanners    = 8  // at once
	scanTimeout = 3 * time.Second
)

// ScanPorts finds the ports of a machine, or of all if machine is "", that
// answer to HTTP or HTTPS, in the machines' order and by number.
func (g *Gateway) ScanPorts(ctx context.Context, p api.Play, machine string) ([]api.ScannedPort, error) {
	lister, ok := g.machines.(PortLister)
	if !ok {
		return nil, api.Errorf(api.Unsupported, "this labd cannot scan ports")
	}
	found := []api.ScannedPort{}
	for _, m := range p.Machines {
		if machine != "" && m.Name != machine {
			continue
		}
		one, err := machineOf(p, m.Name)
		if err != nil {
			return nil, err
		}
		ports, err := g.scan(ctx, lister, play.ID(p.ID), one.Name)
		if err != nil {
			return nil, unlessRefusal(err, api.Unreachable, "cannot scan machine %q: %v", one.Name, err)
		}
		found = append(found, ports...)
	}
	if machine != "" && len(found) == 0 {
		_, err := machineOf(p, machine)
		return found, err
	}
	return found, nil
}

func (g *Gateway) scan(ctx context.Context, lister PortLister, id play.ID, machine string) ([]api.ScannedPort, error) {
	listCtx, cancel := context.WithTimeout(ctx, g.DialTimeout)
	numbers, err := lister.Ports(listCtx, id, machine)
	cancel()
	if err != nil {
		return nil, err
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	numbers = slices.DeleteFunc(numbers, func(n int) bool { return n == 22 || n < 1 || n > 65535 })
	if len(numbers) > maxScanned {
		numbers = numbers[:maxScanned]
	}
	var (
		mu    sync.Mutex
		found = []api.ScannedPort{}
		slots = make(chan struct{}, scanners)
		all   sync.WaitGroup
	)
	for _, n := range numbers {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if protocol := g.listen(ctx, id, machine, n); protocol != "" {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, api.ScannedPort{Machine: machine, Number: n, Protocol: protocol})
			}
		})
	}
	all.Wait()
	slices.SortFunc(found, func(a, b api.ScannedPort) int { return cmp.Compare(a.Number, b.Number) })
	return found, ctx.Err()
}

// listen tells what a port speaks: HTTPS, HTTP or "" for neither. TLS goes
// first: a TLS server often answers plain HTTP too, with a complaint.
func (g *Gateway) listen(ctx context.Context, id play.ID, machine string, port int) string {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	for _, protocol := range []string{api.ProtocolHTTPS, api.ProtocolHTTP} {
		conn, err := g.machines.Dial(ctx, id, machine, ":"+strconv.Itoa(port))
		if err != nil {
			return ""
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		half := time.AfterFunc(scanTimeout/2, func() { conn.Close() })
		heard := answers(ctx, conn, protocol == api.ProtocolHTTPS)
		half.Stop()
		stop()
		conn.Close()
		if heard {
			return protocol
		}
	}
	return ""
}

// answers tells whether HTTP is spoken on a connection.
func answers(ctx context.Context, conn net.Conn, secure bool) bool {
	if secure {
		over := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if over.HandshakeContext(ctx) != nil {
			return false
		}
		conn = over
	}
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: sandlot-scan\r\nConnection: close\r\n\r\n"); err != nil {
		return false
	}
	line, _ := bufio.NewReader(io.LimitReader(conn, 64)).ReadString(' ')
	return strings.HasPrefix(line, "HTTP/1.")
}
