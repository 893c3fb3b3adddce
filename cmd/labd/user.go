package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sandlot/api"
	"sandlot/internal/account"
	"sandlot/internal/control"
	"sandlot/internal/host/layout"
	"sandlot/internal/store"
)

// withAccounts opens the accounts, also beside a labd that runs, and writes
// what was done into the audit log.
func withAccounts(ctx context.Context, l *layout.Layout, action, target string, f func(a *account.Accounts) error) error {
	if _, err := os.Stat(l.Root); err != nil {
		return fmt.Errorf("cannot open the accounts: %w; labd up makes them, and --data-dir names its directory", err)
	}
	s, err := store.Open(ctx, l.State())
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w; run it with sudo", err)
	}
	if err != nil {
		return err
	}
	a := account.New(s)
	err = f(a)
	if err == nil && action != "" {
		err = a.Record(ctx, api.AuditEntry{Via: "host", Action: action, Target: target, Result: "ok"})
	}
	return errors.Join(err, s.Close())
}

func userCommand(l *layout.Layout) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Manage who may use this labd",
		Long: `Manage who may use this labd. These commands work beside a labd that runs, and
take effect at once.`,
		Args: cobra.NoArgs,
	}
	plans, standard := newPlans(), ""
	// The configuration fills them in: users have plans by name only.
	cmd.PersistentFlags().Var(plans, "plans", "as of labd up")
	cmd.PersistentFlags().StringVar(&standard, "default-plan", control.FreePlan, "as of labd up")
	cmd.AddCommand(userPlanCommand(l, plans), userList(l, plans, &standard), userAdd(l), userInvite(l), userPasswd(l),
		userSwitch(l, "disable", "Lock a user out: sessions, tokens and links end, plays stay", true),
		userSwitch(l, "enable", "Let a user in again, with the password they had", false))
	return cmd
}

func userPlanCommand(l *layout.Layout, plans *plansFlag) *cobra.Command {
	return &cobra.Command{
		Use:   "plan USER PLAN",
		Short: "Give a user a plan: how much they may run and keep",
		Long: `Give a user a plan: how much they may run and keep. Plans stand in the
configuration; free, paid and unlimited are there without. "default" takes a
user's plan away. What a user has already stays, whatever the plan.`,
		Example: "  labd user plan ann paid\n  labd user plan ann default",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, plan := args[0], args[1]
			if plan == "default" {
				plan = ""
			} else if err := plans.checkPlan(plan); err != nil {
				return err
			}
			return withAccounts(cmd.Context(), l, "user plan", strings.Join(args, " "), func(a *account.Accounts) error {
				return a.SetPlan(cmd.Context(), name, plan)
			})
		},
	}
}

// shownPlan is what a user's plan means at the moment.
func shownPlan(u store.User, plans *plansFlag, standard string) string {
	effective := control.PlanOf(u, plans.plans, standard)
	if u.Plan != "" && u.Plan != effective {
		return effective + " (" + u.Plan + " is gone)"
	}
	return effective
}

func userList(l *layout.Layout, plans *plansFlag, standard *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the users", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAccounts(cmd.Context(), l, "", "", func(a *account.Accounts) error {
				users, err := a.List(cmd.Context())
				if err != nil {
					return err
				}
				return printUsers(cmd.OutOrStdout(), users, func(u store.User) string { return shownPlan(u, plans, *standard) }, output)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func printUsers(w io.Writer, users []store.User, plan func(store.User) string, output string) error {
	type row struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Role     string `json:"role"`
		Plan     string `json:"plan"`
		Disabled bool   `json:"disabled"`
		Password bool   `json:"password"`
		Created  string `json:"createdAt"`
	}
	rows := make([]row, len(users))
	for i, u := range users {
		rows[i] = row{u.ID, u.Name, u.Role, plan(u), u.Disabled, u.PasswordHash != "", api.Time(u.CreatedAt)}
	}
	if output == "json" {
		return printJSON(w, rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tID\tROLE\tPLAN\tSTATE")
	for _, r := range rows {
		state := "enabled"
		switch {
		case r.Disabled:
			state = "disabled"
		case !r.Password:
			state = "without password"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Name, r.ID, r.Role, r.Plan, state)
	}
	return t.Flush()
}

func role(administrator bool) string {
	if administrator {
		return store.RoleAdministrator
	}
	return store.RoleUser
}

func userAdd(l *layout.Layout) *cobra.Command {
	var administrator bool
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user; the password is asked for, or read from standard input",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			return withAccounts(cmd.Context(), l, "user add", args[0], func(a *account.Accounts) error {
				_, err := a.Add(cmd.Context(), args[0], password, role(administrator))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&administrator, "administrator", false, "may see and change everything of everybody")
	return cmd
}

func userPasswd(l *layout.Layout) *cobra.Command {
	var link bool
	var root string
	cmd := &cobra.Command{
		Use:   "passwd NAME",
		Short: "Give a user a new password, and end their sessions and tokens",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if link {
				return withAccounts(cmd.Context(), l, "user passwd --link", args[0], func(a *account.Accounts) error {
					token, err := a.PasswordLink(cmd.Context(), args[0])
					if err == nil {
						_, err = fmt.Fprintln(cmd.OutOrStdout(), joinURL(cmp.Or(root, address(*l)), token))
					}
					return err
				})
			}
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			return withAccounts(cmd.Context(), l, "user passwd", args[0], func(a *account.Accounts) error {
				return a.SetPassword(cmd.Context(), args[0], password)
			})
		},
	}
	cmd.Flags().BoolVar(&link, "link", false, "print a link instead, good once within a day, with which they set it")
	urlFlag(cmd, &root)
	return cmd
}

func userInvite(l *layout.Layout) *cobra.Command {
	var administrator bool
	var root string
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Print a link, good once within a week, with which somebody makes an account",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAccounts(cmd.Context(), l, "user invite", role(administrator), func(a *account.Accounts) error {
				token, err := a.Invite(cmd.Context(), role(administrator))
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), joinURL(cmp.Or(root, address(*l)), token))
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&administrator, "administrator", false, "may see and change everything of everybody")
	urlFlag(cmd, &root)
	return cmd
}

func userSwitch(l *layout.Layout, verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAccounts(cmd.Context(), l, "user "+verb, args[0], func(a *account.Accounts) error {
				return a.SetDisabled(cmd.Context(), args[0], disabled)
			})
		},
	}
}

func urlFlag(cmd *cobra.Command, root *string) {
	cmd.Flags().StringVar(root, "url", "", "where people reach this labd; default: where it answered last")
}

// joinURL is the page of a link for an account.
func joinURL(root, token string) string { return strings.TrimRight(root, "/") + "/join/" + token }

// readPassword asks twice at a terminal, and reads one line elsewhere.
func readPassword(cmd *cobra.Command) (string, error) {
	in := cmd.InOrStdin()
	f, isFile := in.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("cannot read the password: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", errors.New("cannot read the password: standard input has none; write it there, or use a terminal")
		}
		return line, nil
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		p, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(p), err
	}
	first, err := ask("Password: ")
	if err != nil {
		return "", fmt.Errorf("cannot read the password: %w", err)
	}
	if again, err := ask("Again: "); err != nil || again != first {
		return "", errors.Join(errors.New("cannot set the password: the two are not the same"), err)
	}
	return first, nil
}

func auditCommand(l *layout.Layout) *cobra.Command {
	var output string
	var limit int
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who did what, the last first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAccounts(cmd.Context(), l, "", "", func(a *account.Accounts) error {
				list, err := a.Audit(cmd.Context(), limit)
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(cmd.OutOrStdout(), list)
				}
				t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "WHEN\tWHO\tVIA\tFROM\tWHAT\tON\tRESULT")
				for _, e := range list {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.At, dash(e.UserName), e.Via, dash(e.Address), e.Action, dash(e.Target), e.Result)
				}
				return t.Flush()
			})
		},
	}
	cmd.Flags().IntVarP(&limit, "lines", "n", 100, "how many lines")
	outputFlag(cmd, &output)
	return cmd
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
