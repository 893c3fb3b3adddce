package agent

import (
	"os"
	"path/filepath"
	"testing"
)

// Tasks come first while one of them runs, where the kernel shares processors
// by cgroups of version 2.
func TestTaskCgroup(t *testing.T) {
	for name, tc := range map[string]struct {
		control string // "" where nothing is mounted
		want    []string
	}{
		"version 2":         {"cpu memory\n", []string{taskWeight, taskWeight, taskWeight, idleWeight}},
		"without processor": {"memory pids\n", []string{"", "", "", ""}},
		"version 1":         {"", []string{"", "", "", ""}},
	} {
		root := t.TempDir()
		if tc.control != "" {
			if err := os.MkdirAll(root+cgroupRoot, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(root+cgroupRoot+"/cgroup.subtree_control", []byte(tc.control), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		weight := func() string {
			b, _ := os.ReadFile(filepath.Join(root+tasksGroup, "cpu.weight"))
			return string(b)
		}
		var c taskCgroup
		var got []string
		one, leaveOne := c.enter(root)
		got = append(got, weight())
		two, leaveTwo := c.enter(root)
		got = append(got, weight())
		leaveTwo()
		got = append(got, weight())
		leaveOne()
		got = append(got, weight())
		for i, w := range tc.want {
			if got[i] != w {
				t.Errorf("%s: weights %q, want %q", name, got, tc.want)
				break
			}
		}
		if has := one != nil && two != nil; has != (tc.want[0] != "") {
			t.Errorf("%s: the tasks' cgroup is there: %v", name, has)
		}
		one.Close()
		two.Close()
	}
}
