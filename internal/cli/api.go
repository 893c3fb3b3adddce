package cli

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func (a *App) api() *cobra.Command {
	var input string
	var silent bool
	method := &choice{value: http.MethodGet, choices: []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}}
	cmd := &cobra.Command{
		Use:   "api PATH",
		Short: "Send one request to labd's API and print the reply",
		Long: `Send one request to labd's API, signed in as you are, and print the reply. PATH is
that of docs/api.md without /api, with its query; labd shows all of them at
/api/docs.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().VarP(method, "method", "X", "GET, POST, PUT, PATCH or DELETE")
	cmd.Flags().StringVar(&input, "input", "", "file to send, - for stdin; makes GET a POST")
	cmd.Flags().BoolVarP(&silent, "silent", "s", false, "print nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := args[0]
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		var body io.Reader
		if input != "" {
			if method.value == http.MethodGet {
				if cmd.Flags().Changed("method") {
					return errors.New("cannot send a body with GET: leave -X out, or --input")
				}
				method.value = http.MethodPost
			}
			if input == "-" {
				body = a.In
			} else {
				f, err := os.Open(input)
				if err != nil {
					return err
				}
				defer f.Close()
				body = f
			}
			if method.value == http.MethodDelete {
				body = nil
			}
			// A reader of a type that net/http does not know is streamed.
			if body != nil {
				body = struct{ io.Reader }{body}
			}
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		out := a.Out
		if silent {
			out = io.Discard
		}
		return c.Raw(cmd.Context(), method.value, path, body, out)
	}
	return cmd
}
