//go:build linux

package launch

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has had of the host so far.
type Usage struct {
	CPU    time.Duration // of all its threads, also in the kernel
	Memory int64         // bytes in memory now
}

// ticksPerSecond of /proc's times is 100 on every architecture that Linux
// shows to programs (USER_HZ).
const ticksPerSecond = 100

// ReadUsage asks /proc. It needs no cgroup, so it works in containers too.
func ReadUsage(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("cannot read what process %d uses: %v", pid, err)
	}
	u, err := parseUsage(stat, int64(os.Getpagesize()))
	if err != nil {
		return Usage{}, fmt.Errorf("cannot read what process %d uses: %v", pid, err)
	}
	return u, nil
}

// parseUsage reads /proc/PID/stat, see proc(5). The name in parentheses may hold
// anything, so fields are counted from its end: state is the third one.
func parseUsage(stat []byte, page int64) (Usage, error) {
	at := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[at+1:]))
	if at < 0 || len(fields) < 22 {
		return Usage{}, fmt.Errorf("%d fields of stat are too few", len(fields))
	}
	var n [3]int64
	for i, field := range []int{14, 15, 24} { // utime, stime, rss
		var err error
		if n[i], err = strconv.ParseInt(fields[field-3], 10, 64); err != nil {
			return Usage{}, err
		}
	}
	return Usage{CPU: time.Duration(n[0]+n[1]) * (time.Second / ticksPerSecond), Memory: n[2] * page}, nil
}
