package session

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// prefixed reads what is left over first.
type prefixed struct {
	rest []byte
	r    io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.rest) > 0 {
		n := copy(b, p.rest)
		p.rest = p.rest[n:]
		return n, nil
	}
	return p.r.Read(b)
}

// Of yamux's specification: the header is version, type, flags, stream, length.
const (
	yamuxHeader    = 12
	yamuxTypeData  = 0
	yamuxTypePing  = 2
	yamuxFlagSYN   = 1
	yamuxMaxWindow = 256 << 10
)

// errRules ends a session whose guest does what no agent does.
var errRules = errors.New("the guest broke the rules of the channel")

// guarded lets no frame pass that would cost the host something: yamux keeps a
// buffer for each stream the peer opens and a goroutine for each ping. Agents
// do neither.
type guarded struct {
	net.Conn
	in   io.Reader
	head [yamuxHeader]byte
	have int // bytes of head read
	sent int // bytes of head handed on
	body uint32
}

func (g *guarded) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		switch {
		case g.have < yamuxHeader:
			n, err := g.in.Read(g.head[g.have:])
			g.have += n
			if g.have < yamuxHeader {
				if err != nil {
					return 0, err
				}
				continue
			}
			if err := g.check(); err != nil {
				return 0, err
			}
		case g.sent < yamuxHeader:
			n := copy(b, g.head[g.sent:])
			g.sent += n
			return n, nil
		case g.body > 0:
			n, err := g.in.Read(b[:min(len(b), int(g.body))])
			g.body -= uint32(n)
			return n, err
		default:
			g.have, g.sent = 0, 0
		}
	}
}

func (g *guarded) check() error {
	flags := binary.BigEndian.Uint16(g.head[2:])
	length := binary.BigEndian.Uint32(g.head[8:])
	if g.head[0] != 0 || g.head[1] > 3 {
		return errRules // an agent that started anew says so, see package wire
	}
	if flags&yamuxFlagSYN != 0 {
		return errRules
	}
	if g.head[1] == yamuxTypeData {
		if length > yamuxMaxWindow {
			return errRules
		}
		g.body = length
	}
	return nil
}
