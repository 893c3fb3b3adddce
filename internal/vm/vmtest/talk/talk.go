// Package talk is the line protocol between the driver contract suite and a
// guest under test. In goes the byte channel a driver calls the agent's; out
// come answers about the guest as seen from inside. The tiny guest of QEMU
// tests serves it over virtio-serial, the fake driver's tests in process.
//
// One request is one line, "<verb> <argument>"; one answer is one line,
// "ok <JSON>" or "error <text>".
package talk

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Guest is what a guest under test can tell and do.
type Guest interface {
	BootID() string
	// Drives gives, for vda, vdb, … in order, the text each volume starts with.
	Drives() ([]string, error)
	// NICs gives the MACs of the interfaces in PCI order.
	NICs() ([]string, error)
	// Address gives the NIC with this MAC an address with mask, and brings it up.
	Address(mac, prefix string) error
	// Ping sends echo requests until one is answered or time is up.
	Ping(address string) error
	// Print writes n bytes of dots to the console.
	Print(n int) error
	// Leave is "reboot", "poweroff" or "panic". The answer may never arrive.
	Leave(how string) error
}

// Serve answers requests from rw until reading fails. The verb "last" stores
// what to leave by then: a test uses it to have a guest leave unseen.
func Serve(rw io.ReadWriter, guest Guest) error {
	last := ""
	err := serve(rw, guest, &last)
	if last != "" {
		err = errors.Join(err, guest.Leave(last))
	}
	return err
}

func serve(rw io.ReadWriter, guest Guest, last *string) error {
	lines := bufio.NewScanner(rw)
	for lines.Scan() {
		verb, argument, _ := strings.Cut(lines.Text(), " ")
		if verb == "last" {
			*last, verb = argument, "echo"
		}
		answer, err := serveOne(guest, verb, argument)
		line := []byte("ok ")
		if err != nil {
			line = fmt.Appendf(nil, "error %q", err.Error())
		} else {
			body, err := json.Marshal(answer)
			if err != nil {
				return err
			}
			line = append(line, body...)
		}
		if _, err := rw.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return lines.Err()
}

func serveOne(guest Guest, verb, argument string) (any, error) {
	switch verb {
	case "echo":
		return argument, nil
	case "boot":
		return guest.BootID(), nil
	case "drives":
		return guest.Drives()
	case "nics":
		return guest.NICs()
	case "address":
		mac, prefix, _ := strings.Cut(argument, " ")
		return nil, guest.Address(mac, prefix)
	case "ping":
		return nil, guest.Ping(argument)
	case "print":
		var n int
		if _, err := fmt.Sscan(argument, &n); err != nil {
			return nil, err
		}
		return nil, guest.Print(n)
	case "leave":
		return nil, guest.Leave(argument)
	}
	return nil, fmt.Errorf("unknown verb %q", verb)
}

// Client asks a guest over a driver's agent channel.
type Client struct {
	Conn  net.Conn
	lines *bufio.Reader
}

// Greet waits until the guest answers on conn, passing over anything a former
// conversation left in the channel.
func Greet(conn net.Conn, nonce string, deadline time.Time) (*Client, error) {
	c := &Client{Conn: conn, lines: bufio.NewReaderSize(conn, 1<<20)}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "echo %s\n", nonce); err != nil {
		return nil, err
	}
	want := fmt.Sprintf("ok %q\n", nonce)
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("cannot reach guest: %w", err)
		}
		if strings.HasSuffix(line, want) {
			return c, nil
		}
	}
}

// Ask sends one request and decodes the answer into out, which may be nil.
func (c *Client) Ask(out any, verb string, arguments ...string) error {
	if _, err := fmt.Fprintln(c.Conn, strings.Join(append([]string{verb}, arguments...), " ")); err != nil {
		return err
	}
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return err
	}
	if body, ok := strings.CutPrefix(line, "ok "); ok {
		if out == nil {
			return nil
		}
		return json.Unmarshal([]byte(body), out)
	}
	return errors.New(strings.TrimSpace(line))
}
