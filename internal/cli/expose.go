package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) expose() *cobra.Command {
	return group("expose", "Give ports and shells of machines an address of their own", nil,
		a.exposePort(), a.exposeLocal(), a.exposeShell(), a.exposeList(), a.exposeScan(), a.exposeRemove())
}

// accessOf is the access that --public says.
func accessOf(public bool) string {
	if public {
		return api.AccessPublic
	}
	return api.AccessPrivate
}

// addresses are how what was exposed is printed.
var addresses = []string{"address", "json", "yaml"}

func (a *App) exposePort() *cobra.Command {
	var req api.Port
	var public, scanned, link, open bool
	cmd := &cobra.Command{
		Use:   "port PLAY (PORT | --scanned)",
		Short: "Give a port of a machine a web address",
		Long: `Give a port of a machine a web address and print it. A private one opens for
the play's owner only: in a browser that is signed in, or by --link anywhere,
once and within a minute.`,
		Example: `  labctl expose port PLAY 8080
  labctl expose port PLAY 8443 --https --public
  labctl expose port PLAY --scanned
  labctl expose port PLAY 8080 --output json`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completePlays,
	}
	f := cmd.Flags()
	f.StringVarP(&req.Machine, "machine", "m", "", "machine (default: the first; with --scanned: all)")
	a.completeMachineFlag(cmd)
	f.BoolVarP(&req.TLS, "https", "s", false, "the application speaks HTTPS, self-signed or not")
	f.BoolVarP(&public, "public", "p", false, "open to everybody who has the address")
	f.StringVar(&req.HostRewrite, "host-rewrite", "", "Host header that the application gets, like localhost")
	f.StringVar(&req.PathRewrite, "path-rewrite", "", "path to put before every path, like /app")
	f.BoolVarP(&open, "open", "o", false, "open the address in a browser")
	f.BoolVar(&scanned, "scanned", false, "all ports that answer to HTTP or HTTPS")
	f.BoolVar(&link, "link", false, "print an address that opens a private port once, in any browser")
	format := shortOutputFlag(cmd, "", addresses)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, id := cmd.Context(), args[0]
		if scanned == (len(args) == 2) {
			return errors.New("cannot expose: write a port, or --scanned")
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		req.Access = accessOf(public)
		requests := []api.Port{req}
		if scanned {
			found, err := c.ScanPorts(ctx, id, req.Machine)
			if err != nil {
				return err
			}
			requests = nil
			for _, p := range found {
				one := req
				one.Machine, one.Number, one.TLS = p.Machine, p.Number, p.Protocol == api.ProtocolHTTPS
				requests = append(requests, one)
			}
			if len(requests) == 0 {
				return errors.New("no port answers to HTTP or HTTPS")
			}
		} else if requests[0].Number, err = strconv.Atoi(args[1]); err != nil {
			return fmt.Errorf("cannot expose port %q: write a number", args[1])
		}
		var errs []error
		made := []api.Port{}
		for _, r := range requests {
			p, err := c.ExposePort(ctx, id, r)
			if err == nil && link {
				p.URL, err = c.PortLink(ctx, id, p.ID)
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if made = append(made, p); format.value == "address" {
				fmt.Fprintln(a.Out, clean(p.URL))
			}
			if open {
				a.browse(p.URL)
			}
		}
		if format.value != "address" {
			errs = append(errs, printAs(a.Out, format.value, made))
		}
		return errors.Join(errs...)
	}
	return cmd
}

func (a *App) exposeShell() *cobra.Command {
	var req api.Shell
	var public, open bool
	cmd := &cobra.Command{
		Use:               "shell PLAY",
		Short:             "Give a shell on a machine a web address",
		Example:           "  labctl expose shell PLAY -m node-01 -u root",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	cmd.Flags().StringVarP(&req.Machine, "machine", "m", "", "machine (default: the first)")
	a.completeMachineFlag(cmd)
	cmd.Flags().StringVarP(&req.User, "user", "u", "", "user (default: the machine's default user)")
	cmd.Flags().BoolVarP(&public, "public", "p", false, "open to everybody who has the address")
	cmd.Flags().BoolVarP(&open, "open", "o", false, "open the address in a browser")
	format := shortOutputFlag(cmd, "", addresses)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		req.Access = accessOf(public)
		s, err := c.ExposeShell(cmd.Context(), args[0], req)
		if err != nil {
			return err
		}
		if open {
			defer a.browse(s.URL)
		}
		if format.value != "address" {
			return printAs(a.Out, format.value, s)
		}
		_, err = fmt.Fprintln(a.Out, clean(s.URL))
		return err
	}
	return cmd
}

func (a *App) exposeList() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list PLAY",
		Aliases:           []string{"ls"},
		Short:             "List what a play exposes",
		Example:           "  labctl expose list PLAY -o json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	kinds := &choice{choices: []string{"all", "port", "shell"}, value: "all"}
	cmd.Flags().Var(kinds, "kind", "all, port or shell")
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var all struct {
			Ports  []api.Port  `json:"ports"`
			Shells []api.Shell `json:"shells"`
		}
		if kinds.value != "shell" {
			if all.Ports, err = c.Ports(cmd.Context(), args[0]); err != nil {
				return err
			}
		}
		if kinds.value != "port" {
			if all.Shells, err = c.Shells(cmd.Context(), args[0]); err != nil {
				return err
			}
		}
		if format.value != "table" {
			return printAs(a.Out, format.value, all)
		}
		var rows [][]string
		for _, p := range all.Ports {
			scheme := "http"
			if p.TLS {
				scheme = "https"
			}
			rows = append(rows, []string{p.ID, fmt.Sprintf("%s %s:%d", scheme, p.Machine, p.Number), p.URL, p.Access, orDash(p.HostRewrite), orDash(p.PathRewrite)})
		}
		for _, s := range all.Shells {
			rows = append(rows, []string{s.ID, "shell " + s.User + "@" + s.Machine, s.URL, s.Access, "-", "-"})
		}
		return table(a.Out, []string{"ID", "TARGET", "URL", "ACCESS", "HOST", "PATH"}, rows)
	}
	return cmd
}

func (a *App) exposeScan() *cobra.Command {
	var machine string
	cmd := &cobra.Command{
		Use:               "scan PLAY",
		Short:             "Find ports inside machines that answer to HTTP or HTTPS",
		Example:           "  labctl expose scan PLAY -m node-01",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	cmd.Flags().StringVarP(&machine, "machine", "m", "", "machine (default: all)")
	a.completeMachineFlag(cmd)
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		found, err := c.ScanPorts(cmd.Context(), args[0], machine)
		if err != nil {
			return err
		}
		if format.value != "table" {
			return printAs(a.Out, format.value, found)
		}
		var rows [][]string
		for _, p := range found {
			rows = append(rows, []string{p.Machine, strconv.Itoa(p.Number), p.Protocol})
		}
		return table(a.Out, []string{"MACHINE", "PORT", "PROTOCOL"}, rows)
	}
	return cmd
}

func (a *App) exposeRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "remove PLAY ID",
		Aliases:           []string{"rm"},
		Short:             "Expose a port or a shell no more",
		Example:           "  labctl expose remove PLAY ID   # as labctl expose list shows it",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completePlays,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, id, exposed := cmd.Context(), args[0], args[1]
			ports, err := c.Ports(ctx, id)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(ports, func(p api.Port) bool { return p.ID == exposed }) {
				return c.RemovePort(ctx, id, exposed)
			}
			return c.RemoveShell(ctx, id, exposed)
		},
	}
}
