package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const machineOfBench = `
    - name: m%d
      users: [{name: root, default: true}]
      kernel: {source: "6.1"}
      drives: [{source: debian-12, mount: /, size: 5GiB}]
      network: {interfaces: [{network: local}]}
      resources: {cpuCount: 1, ramSize: 512MiB}`

const links = 10

// tasks is the lab of five machines with its ten tasks, from the command to the
// last task's end, against five machines with nothing to do; and what a task
// costs beyond its script.
func (b *bench) tasks() ([]figure, error) {
	machines := func(n int) string {
		var out strings.Builder
		out.WriteString("kind: playground\nname: bench\nplayground:\n  machines:")
		for i := range n {
			fmt.Fprintf(&out, machineOfBench, i)
		}
		return out.String() + "\n"
	}
	plain := filepath.Join(b.work, "plain.yaml")
	if err := os.WriteFile(plain, []byte(machines(5)), 0o600); err != nil {
		return nil, err
	}
	var ours, bare []time.Duration
	for range b.runs {
		for _, run := range []struct {
			manifest string
			times    *[]time.Duration
		}{{plain, &bare}, {five, &ours}} {
			id, t, err := b.labd.play(run.manifest)
			if err != nil {
				return nil, err
			}
			*run.times = append(*run.times, t)
			if _, err := b.labd.destroy(id); err != nil {
				return nil, err
			}
		}
		fmt.Fprintf(os.Stderr, "  five plain machines %s, with ten tasks %s\n", seconds(bare[len(bare)-1]), seconds(ours[len(ours)-1]))
	}
	cost, err := b.taskCost(machines(1))
	if err != nil {
		return nil, err
	}
	return []figure{
		versus("five machines with ten tasks, against five plain ones", median(ours), median(bare), 1.3),
		{"a task beyond its script", fmt.Sprintf("%.0f ms", cost.Seconds()*1000), "150 ms", cost.Seconds() / 0.150, 1},
	}, nil
}

// booted ends when the machine has nothing left to start: before, a task shares
// the processor with what Ready does not wait for. It then tells how many
// microseconds a login shell takes there that runs nothing.
const booted = `
    booted:
      init: true
      timeout_seconds: 300
      run: |
        systemctl is-system-running --wait
        begin=${EPOCHREALTIME/./}
        for i in {1..5}; do bash -lc :; done
        echo $(( (${EPOCHREALTIME/./} - begin) / 5 ))
`

// taskCost is the time from one link of a chain of tasks to the next, less what
// a script's own shell takes.
func (b *bench) taskCost(machine string) (time.Duration, error) {
	var chain strings.Builder
	chain.WriteString(machine + "  initTasks:" + booted)
	before := "booted"
	for i := range links {
		name := fmt.Sprintf("link-%d", i)
		fmt.Fprintf(&chain, "    %s: {init: true, needs: [%s], run: ':'}\n", name, before)
		before = name
	}
	path := filepath.Join(b.work, "chain.yaml")
	if err := os.WriteFile(path, []byte(chain.String()), 0o600); err != nil {
		return 0, err
	}
	id, _, err := b.labd.play(path)
	if err != nil {
		return 0, err
	}
	defer func() { _, _ = b.labd.destroy(id) }()
	out, err := b.labd.labctl("playground", "tasks", id, "-o", "json")
	if err != nil {
		return 0, err
	}
	var tasks map[string]struct {
		LastRunAt time.Time `json:"lastRunAt"`
		Stdout    string    `json:"stdout"`
	}
	if err := json.Unmarshal([]byte(out), &tasks); err != nil {
		return 0, err
	}
	words := strings.Fields(tasks["booted"].Stdout)
	if len(words) == 0 {
		return 0, fmt.Errorf("the first task said nothing")
	}
	shell, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		return 0, fmt.Errorf("the first task said %q", words)
	}
	var begun []time.Time
	for i := range links {
		begun = append(begun, tasks[fmt.Sprintf("link-%d", i)].LastRunAt)
	}
	var gaps []time.Duration
	for i := 1; i < links; i++ {
		gaps = append(gaps, begun[i].Sub(begun[i-1]))
	}
	if slices.Min(gaps) <= 0 {
		return 0, fmt.Errorf("the chain's tasks began at %v", begun)
	}
	between := median(gaps)
	fmt.Fprintf(os.Stderr, "  from task to task %s, an empty shell %d ms\n", seconds(between), shell/1000)
	return between - time.Duration(shell)*time.Microsecond, nil
}
