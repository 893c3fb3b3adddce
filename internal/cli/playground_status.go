package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sandlot/api"
	"sandlot/internal/play"
)

// playSummary is the JSON of status; the reference client's shape, with
// message and conditions added.
type playSummary struct {
	ID         string           `json:"id"`
	Playground string           `json:"playground"`
	Title      string           `json:"title"`
	State      string           `json:"state"`
	Active     bool             `json:"active"`
	CreatedAt  string           `json:"createdAt"`
	UpdatedAt  string           `json:"updatedAt"`
	ExpiresIn  int64            `json:"expiresIn"`
	PageURL    string           `json:"pageUrl"`
	Message    string           `json:"message,omitempty"`
	Notes      []string         `json:"notes,omitempty"`
	Machines   []machineSummary `json:"machines"`
	Tasks      taskSummary      `json:"tasks"`
}

type machineSummary struct {
	Name       string          `json:"name"`
	State      string          `json:"state"`
	Ready      bool            `json:"ready"`
	Message    string          `json:"message,omitempty"`
	Conditions []api.Condition `json:"conditions,omitempty"`
}

type taskSummary struct {
	Initialized   bool `json:"initialized"`
	Failed        bool `json:"failed"`
	InitCompleted int  `json:"initCompleted"`
	InitTotal     int  `json:"initTotal"`
	Completed     int  `json:"completed"`
	Total         int  `json:"total"`
}

func summarize(p api.Play) playSummary {
	s := playSummary{
		ID: p.ID, Playground: p.Playground.Name, Title: p.Title,
		State: p.State(), Active: play.State(p.State()).Active(),
		CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, ExpiresIn: p.ExpiresIn, PageURL: p.PageURL,
		Notes: p.Notes, Machines: []machineSummary{}, Tasks: summarizeTasks(p.Tasks),
	}
	if p.Status != nil && len(p.Status.StateEvents) > 0 {
		s.Message = p.Status.StateEvents[len(p.Status.StateEvents)-1].Message
	}
	for _, m := range p.Machines {
		status, _ := p.Status.Machine(m.Name)
		s.Machines = append(s.Machines, machineSummary{
			Name: m.Name, State: status.State, Ready: status.Is(api.ConditionReady),
			Message: status.Message, Conditions: status.Conditions,
		})
	}
	return s
}

func summarizeTasks(tasks api.Tasks) taskSummary {
	s := taskSummary{Initialized: true}
	for _, t := range tasks {
		done := t.Status == api.TaskCompleted
		if t.Init {
			s.InitTotal++
			if done {
				s.InitCompleted++
			} else {
				s.Initialized = false
			}
		}
		if !t.Helper {
			s.Total++
			if done {
				s.Completed++
			}
			s.Failed = s.Failed || t.Status == api.TaskFailed
		}
	}
	return s
}

func (a *App) playgroundStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "status PLAY",
		Short:             "Show a play, its machines and its tasks",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlays,
	}
	format := outputFlag(cmd, "table", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		p, err := c.Play(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		s := summarize(p)
		if format.value != "table" {
			return printAs(a.Out, format.value, s)
		}
		rows := [][]string{
			{"Playground:", s.Playground},
			{"Title:", orDash(s.Title)},
			{"State:", orDash(s.State)},
			{"Created:", a.ago(s.CreatedAt)},
			{"Updated:", a.ago(s.UpdatedAt)},
			{"Ends:", expiry(p)},
			{"Page:", orDash(s.PageURL)},
		}
		if s.Tasks.Total > 0 {
			rows = append(rows, []string{"Tasks:", fmt.Sprintf("%d of %d completed, init tasks %d of %d",
				s.Tasks.Completed, s.Tasks.Total, s.Tasks.InitCompleted, s.Tasks.InitTotal)})
		}
		for _, n := range s.Notes {
			rows = append(rows, []string{"Note:", n})
		}
		if s.Message != "" {
			rows = append(rows, []string{"Message:", s.Message})
		}
		if err := table(a.Out, []string{"Play:", s.ID}, rows); err != nil {
			return err
		}
		fmt.Fprintln(a.Out)
		var machines [][]string
		start := began(p)
		for _, m := range s.Machines {
			row := []string{m.Name, orDash(m.State)}
			for _, name := range api.Conditions {
				cell := "-"
				for _, c := range m.Conditions {
					if c.Name == name && c.Status == api.True {
						cell = seconds(api.ParseTime(c.LastTransitionAt).Sub(start))
					}
				}
				row = append(row, cell)
			}
			machines = append(machines, row)
		}
		head := []string{"MACHINE", "STATE"}
		for _, name := range api.Conditions {
			head = append(head, strings.ToUpper(name))
		}
		if err := table(a.Out, head, machines); err != nil {
			return err
		}
		for _, m := range s.Machines {
			if m.Message != "" {
				fmt.Fprintf(a.Out, "\n%s: %s\n", clean(m.Name), clean(m.Message))
			}
		}
		for _, line := range warnings(p) {
			fmt.Fprintf(a.Out, "\n%s\n", line)
		}
		return nil
	}
	return cmd
}

// warnings are what running machines could not set up.
func warnings(p api.Play) []string {
	var lines []string
	if p.Status == nil {
		return nil
	}
	for _, m := range p.Status.Machines {
		if c, ok := m.Condition(play.ConditionBoot); ok && c.Status == api.True && c.Message != "" {
			for line := range strings.Lines(clean(c.Message)) {
				lines = append(lines, fmt.Sprintf("warning: machine %s: %s", clean(m.Name), strings.TrimSpace(line)))
			}
		}
	}
	return lines
}
