package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sandlot/api"
)

func (a *App) search() *cobra.Command {
	var kinds, categories, tags, difficulties []string
	var limit, offset int
	var quiet, open bool
	cmd := &cobra.Command{
		Use:     "search [WORD...]",
		Aliases: []string{"s", "find"},
		Short:   "Find playgrounds by words and categories",
		Long: `Find playgrounds by words and categories, the best match first. All words must
occur; of several kinds, categories or tags one is enough. labd has playgrounds
only; other kinds of the platform find nothing.`,
	}
	format := outputFlag(cmd, "table", "json", "yaml", "pretty")
	f := cmd.Flags()
	f.StringSliceVarP(&kinds, "kind", "k", nil, "only these kinds, like playground")
	f.StringSliceVarP(&categories, "category", "c", nil, "only these categories, like networking")
	f.StringSliceVarP(&tags, "tag", "t", nil, "only these tags")
	f.StringSliceVarP(&difficulties, "difficulty", "d", nil, "only these difficulties")
	f.IntVarP(&limit, "limit", "n", 20, "print at most so many")
	f.IntVar(&offset, "offset", 0, "leave out the first ones")
	f.BoolVar(&open, "open", false, "open what is found first in a browser")
	f.BoolVarP(&quiet, "quiet", "q", false, "print kind/name only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		words := strings.TrimSpace(strings.Join(args, " "))
		if words == "" && len(kinds)+len(categories) == 0 {
			return errors.New("name a word to look for, or a --kind or --category to list")
		}
		query := url.Values{"kind": kinds, "category": categories, "tag": tags, "difficulty": difficulties, "limit": {strconv.Itoa(limit)}}
		if words != "" {
			query.Set("search", words)
		}
		if offset > 0 {
			query.Set("offset", strconv.Itoa(offset))
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		items, total, err := c.Search(cmd.Context(), query)
		if err != nil {
			return err
		}
		if open && len(items) > 0 {
			a.browse(items[0].PageURL)
		}
		if !quiet && (format.value == "json" || format.value == "yaml") {
			return printAs(a.Out, format.value, api.SearchResult{Items: items})
		}
		var rows [][]string
		for _, i := range items {
			if quiet {
				fmt.Fprintln(a.Out, clean(i.Kind+"/"+i.Name))
			}
			rows = append(rows, []string{i.Kind, i.Name, orDash(cmp.Or(i.Title, i.Description)), orDash(strings.Join(i.Categories, ","))})
		}
		if quiet {
			return nil
		}
		if err := table(a.Out, []string{"KIND", "NAME", "TITLE", "CATEGORIES"}, rows); err != nil {
			return err
		}
		if total > offset+len(items) {
			a.say(false, "%d of %d; more with --offset %d.", len(items), total, offset+len(items))
		}
		return nil
	}
	return cmd
}
