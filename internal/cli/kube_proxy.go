package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"sandlot/api"
	"sandlot/client"
)

// controlPlane is the machine that Kubernetes playgrounds call so.
const controlPlane = "cplane-01"

// maxKubeconfig bounds what a machine may send as one.
const maxKubeconfig = 1 << 20

func (a *App) kubeProxy() *cobra.Command {
	address, machine := "127.0.0.1:6443:6443", ""
	var quiet bool
	cmd := &cobra.Command{
		Use:   "kube-proxy PLAY",
		Short: "Make a play's Kubernetes API a local port, with a kubeconfig for it",
		Long: `Make the Kubernetes API of a play a local port until Ctrl-C, and print the path
of a kubeconfig for it: a copy of ~/.kube/config of the machine's default user
that leads to the local port.`,
		Example: `  labctl kube-proxy PLAY
  labctl kube-proxy PLAY --address 7443:6443 --control-plane cplane-02`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	f := cmd.Flags()
	f.StringVar(&address, "address", address, "[LOCAL-HOST:]LOCAL-PORT:REMOTE-PORT")
	f.StringVar(&machine, "control-plane", "", "machine (default: "+controlPlane+" if there is one, else the first)")
	f.BoolVarP(&quiet, "quiet", "q", false, "print the path only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		forward, err := parseForward(api.ForwardLocal, address)
		if err != nil || forward.LocalPort == 0 || forward.RemoteHost != "" {
			return fmt.Errorf("cannot read --address %q: write [LOCAL-HOST:]LOCAL-PORT:REMOTE-PORT", address)
		}
		if forward.LocalHost == "" {
			forward.LocalHost = "127.0.0.1"
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.Play(ctx, args[0])
		if err != nil {
			return err
		}
		if machine == "" && slices.ContainsFunc(p.Machines, func(m api.Machine) bool { return m.Name == controlPlane }) {
			machine = controlPlane
		}
		m, user, err := login{machine: machine}.resolve(p)
		if err != nil {
			return err
		}
		forward.Machine = m.Name
		config, err := a.fetchKubeconfig(ctx, c, p.ID, m.Name, user)
		if err != nil {
			return err
		}
		if config, err = localKubeconfig(config, "https://"+net.JoinHostPort(forward.LocalHost, strconv.Itoa(forward.LocalPort))); err != nil {
			return fmt.Errorf("cannot use the kubeconfig of machine %q: %w", m.Name, err)
		}
		tunnel, err := c.OpenTunnel(ctx, p.ID, api.TunnelRequest{Machine: m.Name}, nil)
		if err != nil {
			return err
		}
		run, err := a.forward(ctx, tunnel, forward, quiet)
		if err != nil {
			return err
		}
		file, err := a.keepKubeconfig(p.ID+"-"+m.Name+"-"+user, config)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.Out, file)
		a.say(quiet, "Use it: kubectl --kubeconfig=%s get nodes", file)
		return run()
	}
	return cmd
}

func (a *App) fetchKubeconfig(ctx context.Context, c *client.Client, playID, machine, user string) ([]byte, error) {
	stopHint := a.hint(machine)
	conn, _, err := a.sshTo(ctx, c, playID, machine, user)
	stopHint()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	session, err := conn.NewSession()
	if err != nil {
		return nil, err
	}
	defer session.Close()
	var errs bytes.Buffer
	session.Stderr = &errs
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := session.Start("cat ~/.kube/config"); err != nil {
		return nil, err
	}
	config, err := io.ReadAll(io.LimitReader(out, maxKubeconfig+1))
	if err == nil && len(config) > maxKubeconfig {
		return nil, fmt.Errorf("~/.kube/config of machine %q is over %d bytes", machine, maxKubeconfig)
	}
	if err := errors.Join(err, session.Wait()); err != nil {
		return nil, fmt.Errorf("cannot read ~/.kube/config of %s on machine %q: %s; is it a Kubernetes play, and its cluster up?", user, machine, clean(strings.TrimSpace(errs.String())))
	}
	return config, nil
}

// localKubeconfig makes every cluster lead to server. Certificates are for the
// cluster's own names, so the original host is still the one to verify. What
// would make kubectl run programs or read files of this computer is refused:
// whoever has the machine wrote this file.
func localKubeconfig(config []byte, server string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(config, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is no YAML mapping")
	}
	root := doc.Content[0]
	clusters := 0
	if err := eachNamed(root, "clusters", "cluster", func(c *yaml.Node) error {
		clusters++
		if key := oneOf(c, "certificate-authority", "proxy-url"); key != "" {
			return fmt.Errorf("a cluster in it has %q, which is not to be used from here", key)
		}
		at := valueOf(c, "server")
		if at == nil {
			return errors.New("a cluster in it has no server")
		}
		u, err := url.Parse(at.Value)
		if err != nil || u.Hostname() == "" {
			return fmt.Errorf("a cluster in it has the server %q", at.Value)
		}
		at.SetString(server)
		if valueOf(c, "tls-server-name") == nil {
			var key, value yaml.Node
			key.SetString("tls-server-name")
			value.SetString(u.Hostname())
			c.Content = append(c.Content, &key, &value)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if clusters == 0 {
		return nil, errors.New("it has no cluster")
	}
	if err := eachNamed(root, "users", "user", func(u *yaml.Node) error {
		if key := oneOf(u, "exec", "auth-provider", "tokenFile", "client-certificate", "client-key"); key != "" {
			return fmt.Errorf("a user in it has %q, which would run a program or read a file of this computer", key)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return yaml.Marshal(&doc)
}

// eachNamed calls f for the mapping under key of each entry of a list.
func eachNamed(root *yaml.Node, list, key string, f func(*yaml.Node) error) error {
	entries := valueOf(root, list)
	if entries == nil {
		return nil
	}
	if entries.Kind != yaml.SequenceNode {
		return fmt.Errorf("%q in it is no list", list)
	}
	for _, e := range entries.Content {
		one := valueOf(e, key)
		if one == nil || one.Kind != yaml.MappingNode {
			return fmt.Errorf("an entry of %q in it has no %q", list, key)
		}
		if err := f(one); err != nil {
			return err
		}
	}
	return nil
}

// valueOf returns what a mapping has under a key; nil if it is none, or has it
// not. Aliases and merges could hide keys, so there are none.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i+1].Kind != yaml.AliasNode {
			return n.Content[i+1]
		}
	}
	return nil
}

// oneOf names the first of keys that a mapping has; a merge counts as all.
func oneOf(n *yaml.Node, keys ...string) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i].Value; k == "<<" || slices.Contains(keys, k) {
			return k
		}
	}
	return ""
}

// keepKubeconfig writes a kubeconfig that only its owner can read.
func (a *App) keepKubeconfig(name string, config []byte) (string, error) {
	cfg, err := a.config()
	if err != nil {
		return "", err
	}
	file := filepath.Join(cfg.PlaysDir, filepath.Base(name), "kubeconfig")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("cannot keep the kubeconfig: %w", err)
	}
	if err := replaceFile(file, config, 0o600); err != nil {
		return "", fmt.Errorf("cannot keep the kubeconfig: %w", err)
	}
	return file, nil
}
