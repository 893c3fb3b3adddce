package test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"

	"github.com/miekg/dns"

	"sandlot/internal/host/netns"
)

// What stands for the internet: a namespace behind the host, in a range that
// is set aside for documents (RFC 5737).
const (
	hostOutside = "203.0.113.1"
	internet    = "203.0.113.2"
)

// internet joins the host to a namespace where port 80 answers with the
// caller's address, and port 53 with "internet" for every name. The host's own
// port 80 on that link answers, too; what comes back ends it all.
func (p *place) internet() (end func(), err error) {
	name, link := "internet-"+p.data.Table(), "in"+p.data.UplinkPrefix()
	var closers []func() error
	end = func() {
		for _, c := range closers {
			_ = c()
		}
		// The link first: the namespace itself may go some time after its name.
		_ = exec.Command("ip", "link", "delete", link).Run()
		_ = exec.Command("ip", "netns", "delete", name).Run()
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	for _, line := range []string{
		"netns add " + name,
		"link add " + link + " type veth peer name eth0 netns " + name,
		"address add " + hostOutside + "/30 dev " + link,
		"link set " + link + " up",
		"-n " + name + " address add " + internet + "/30 dev eth0",
		"-n " + name + " link set lo up",
		"-n " + name + " link set eth0 up",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return end, fmt.Errorf("ip %s: %v: %s", line, err, out)
		}
	}
	inside := &netns.Manager{}
	web, err := inside.ListenTCP(name, netip.AddrPortFrom(netip.MustParseAddr(internet), 80))
	if err != nil {
		return end, err
	}
	closers = append(closers, web.Close)
	own, err := net.Listen("tcp", hostOutside+":80")
	if err != nil {
		return end, err
	}
	closers = append(closers, own.Close)
	for _, l := range []net.Listener{web, own} {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintf(c, "hello %s\n", host)
				c.Close()
			}
		}()
	}
	names, err := inside.ListenUDP(name, netip.AddrPortFrom(netip.MustParseAddr(internet), 53))
	if err != nil {
		return end, err
	}
	server := &dns.Server{PacketConn: names, Handler: dns.HandlerFunc(func(to dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			reply.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(internet),
			}}
		}
		_ = to.WriteMsg(reply)
	})}
	go func() { _ = server.ActivateAndServe() }()
	closers = append(closers, names.Close)
	// The host reaches both, so what does not answer a machine is kept from it.
	for _, addr := range []string{internet, hostOutside} {
		c, err2 := net.Dial("tcp", addr+":80")
		err = errors.Join(err, err2)
		if err2 == nil {
			c.Close()
		}
	}
	return end, err
}
