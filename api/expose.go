package api

// Accesses of ports and shells.
const (
	AccessPrivate = "private" // the play's owner only
	AccessPublic  = "public"  // whoever has the address
)

// Port is an exposed port. As a request, Machine, Number, Access, TLS and the
// rewrites count.
type Port struct {
	ID       string `json:"id"`
	PlayID   string `json:"playId"`
	Machine  string `json:"machine"` // "" means the first, in a request
	Number   int    `json:"number"`
	Hostname string `json:"hostname"`
	Access   string `json:"access"` // "" means private, in a request
	// TLS means that the application speaks HTTPS, self-signed or not.
	TLS bool `json:"tls"`
	// HostRewrite is the Host header that the application gets.
	HostRewrite string `json:"hostRewrite"`
	// PathRewrite goes before every path, "/app" makes "/x" be "/app/x"; a
	// query in it goes before every query.
	PathRewrite string `json:"pathRewrite"`
	URL         string `json:"url"`
}

// Shell is an exposed terminal. As a request, Machine, User and Access count.
type Shell struct {
	ID       string `json:"id"`
	PlayID   string `json:"playId"`
	Machine  string `json:"machine"`
	User     string `json:"user"`
	Hostname string `json:"hostname"`
	Access   string `json:"access"`
	URL      string `json:"url"`
}

// ShellVisit is what a visitor of an exposed shell is told. Addition.
type ShellVisit struct {
	Machine string `json:"machine"`
	User    string `json:"user"`
	Access  string `json:"access"`
}

// OpenShell asks for a terminal of an exposed shell. Addition.
type OpenShell struct {
	TTY *TTY `json:"tty,omitempty"` // 80 by 24 without
	Keep
}

// Protocols of a ScannedPort.
const (
	ProtocolHTTP  = "HTTP"
	ProtocolHTTPS = "HTTPS"
)

// ScannedPort is a port inside a machine on which HTTP was heard.
type ScannedPort struct {
	Machine  string `json:"machine"`
	Number   int    `json:"number"`
	Protocol string `json:"protocol"`
}

// Kinds of PortForward.
const (
	ForwardLocal  = "local"
	ForwardRemote = "remote"
)
