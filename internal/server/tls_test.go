package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sandlot/api"
	"sandlot/internal/host/ca"
	"sandlot/internal/labtest"
	"sandlot/internal/server"
	"sandlot/internal/server/servertest"
)

// both serves a lab on one port that takes TLS and plain HTTP.
func both(t *testing.T, l *servertest.Lab) (address, caFile string) {
	t.Helper()
	authority, err := ca.Open(filepath.Join(t.TempDir(), "ca.pem"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := authority.Serve("localhost", "*.localhost", "127.0.0.1")
	config.NextProtos = []string{"h2", "http/1.1"}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Server.Serve(ctx, 5*time.Second, server.Sniff(listener, config)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	caFile = filepath.Join(t.TempDir(), "trust.pem")
	if err := os.WriteFile(caFile, []byte(authority.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String(), caFile
}

// trusting is an HTTP client that trusts a file's certificates only.
func trusting(t *testing.T, caFile string, h2 bool) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: h2}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// roam, in its environment, makes this test's process a client that knows the
// authority from SSL_CERT_FILE only, as the reference client does.
const roam = "SANDLOT_TEST_TUNNEL"

func TestTunnelOverTLSTrustedThroughTheEnvironment(t *testing.T) {
	if in := os.Getenv(roam); in != "" {
		roamingClient(t, in)
		return
	}
	l := servertest.New(t)
	address, caFile := both(t, l)
	_, port, _ := net.SplitHostPort(address)
	id := l.Add("", "m1")
	l.Ready(id)
	echo := labtest.Service(t, func(c net.Conn) { defer c.Close(); _, _ = io.Copy(c, c) })
	for _, root := range []string{"http://localhost:" + port, "https://localhost:" + port, "https://" + address} {
		req, _ := http.NewRequest("POST", root+"/api/plays/"+string(id)+"/tunnels", strings.NewReader(`{}`))
		req.SetBasicAuth(servertest.Session, servertest.Token)
		res, err := trusting(t, caFile, false).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		reply := decode[api.Tunnel](t, res)
		res.Body.Close()
		if !strings.HasPrefix(reply.URL, root+"/t/") || !strings.HasPrefix(reply.LoginURL, root+"/t/") {
			t.Errorf("asked at %s, got %+v", root, reply)
		}
		in, _ := json.Marshal([]string{reply.URL, reply.LoginURL, echo})
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), roam+"="+string(in), "SSL_CERT_FILE="+caFile)
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("carried by TLS")) {
			t.Errorf("%s: %v\n%s", root, err, out)
		}
		cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), roam+"="+string(in), "SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR=/dev/null")
		if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("failed to verify certificate")) {
			t.Errorf("%s without the authority: %v\n%s", root, err, out)
		}
	}
}

// roamingClient does what the reference client does with a tunnel: it fetches
// the login URL and dials wss, whatever the URL's scheme is.
func roamingClient(t *testing.T, in string) {
	var reply []string
	if err := json.Unmarshal([]byte(in), &reply); err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(reply[1])
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	var cookie string
	for _, c := range res.Cookies() {
		if c.Name == ".ixcondsess" {
			cookie = c.Value
		}
	}
	_, rest, _ := strings.Cut(reply[0], "://")
	url := "wss://" + rest + "/tunnels/" + base64.StdEncoding.EncodeToString([]byte(":"+reply[2]))
	ws, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {".ixcondsess=" + cookie}}})
	if err != nil {
		t.Fatal(err)
	}
	conn := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
	defer conn.Close()
	fmt.Fprintln(conn, "carried by TLS")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	fmt.Print(line)
}

func TestHTTP2WithTheAPI(t *testing.T) {
	l := servertest.New(t)
	address, caFile := both(t, l)
	client := trusting(t, caFile, true)
	for i := range 3 {
		req, _ := http.NewRequest("POST", "https://"+address+"/api/plays", strings.NewReader(`{"playground":"flexbox","title":"x"}`))
		req.SetBasicAuth(servertest.Session, servertest.Token)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if p := decode[api.Play](t, res); res.ProtoMajor != 2 || p.Title != "x" {
			t.Fatalf("%s: %s %+v", res.Proto, res.Status, p)
		}
		res.Body.Close()
		if got := len(l.Started()); got != i+1 {
			t.Fatalf("%d starts", got)
		}
	}
	// A body-carrying call is answered 503 only after the client's own retries
	// have ended: over HTTP/2 they would come without their body.
	l.Gateway.Hold, l.Gateway.MinHold = 10*time.Millisecond, 300*time.Millisecond
	id := l.Add("", "m1")
	req, _ := http.NewRequest("POST", "https://"+address+"/api/plays/"+string(id)+"/tunnels", strings.NewReader(`{}`))
	req.SetBasicAuth(servertest.Session, servertest.Token)
	start := time.Now()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if took := time.Since(start); res.StatusCode != 503 || took < l.Gateway.MinHold {
		t.Errorf("%s after %s", res.Status, took)
	}
}

func TestOnePortForBoth(t *testing.T) {
	l := servertest.New(t)
	address, caFile := both(t, l)
	_, port, _ := net.SplitHostPort(address)
	// Whoever says nothing holds up nobody.
	silent, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	client := trusting(t, caFile, false)
	for _, url := range []string{"http://" + address, "https://" + address, "https://localhost:" + port} {
		res, err := client.Get(url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, res); res.StatusCode != 200 || !strings.Contains(got, "ok") {
			t.Errorf("%s: %s %s", url, res.Status, got)
		}
	}
	// A name right below localhost, with a certificate of its own.
	dialer := &tls.Dialer{Config: &tls.Config{ServerName: "abc.localhost", RootCAs: client.Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	// Half a handshake, and what is neither, end without harm.
	for _, junk := range []string{"\x16\x03\x01\x00\x05hello", "\x16", "\x00\xff\x16\n\n"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(junk))
		c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
	if res, err := client.Get("https://" + address + "/healthz"); err != nil || res.StatusCode != 200 {
		t.Errorf("after junk: %v %v", res, err)
	} else {
		res.Body.Close()
	}
}
