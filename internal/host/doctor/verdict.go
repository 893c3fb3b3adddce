package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func ok(name, detail string) Check { return Check{Name: name, OK: true, Detail: detail} }

func fail(name, detail, mend string) Check {
	return Check{Name: name, Level: Error, Detail: detail, Mend: mend}
}

func warn(name, detail, mend string) Check {
	return Check{Name: name, Level: Warning, Detail: detail, Mend: mend}
}

// Capabilities labd needs, as bit numbers of linux/capability.h.
var capabilities = []struct {
	name string
	bit  uint
}{
	{"CAP_CHOWN", 0}, {"CAP_KILL", 5}, {"CAP_SETGID", 6}, {"CAP_SETUID", 7},
	{"CAP_NET_ADMIN", 12}, {"CAP_SYS_ADMIN", 21}, {"CAP_MKNOD", 27},
}

// rootVerdict reads the caller's user and /proc/self/status.
func rootVerdict(uid int, status string) Check {
	if uid != 0 {
		return fail("root", fmt.Sprintf("running as user %d", uid), "run it with sudo")
	}
	for line := range strings.SplitSeq(status, "\n") {
		hex, found := strings.CutPrefix(line, "CapEff:")
		if !found {
			continue
		}
		caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		if err != nil {
			break
		}
		var missing []string
		for _, c := range capabilities {
			if caps&(1<<c.bit) == 0 {
				missing = append(missing, c.name)
			}
		}
		if len(missing) > 0 {
			return fail("root", "root without "+strings.Join(missing, ", "), "run it outside of the container, or in a privileged one")
		}
	}
	return ok("root", "running as root")
}

func kvmVerdict(works bool, detail string, took time.Duration) Check {
	seconds := fmt.Sprintf("probe boot took %.1f s", took.Seconds())
	if works {
		return ok("kvm", join("works", detail, seconds))
	}
	return warn("kvm", join("does not work", detail, seconds),
		"enable virtualization in the firmware, or nested virtualization for this VM; until then machines run emulated (TCG): slower, and without an isolation guarantee")
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// oldestQEMU is the first whose options the driver uses are all there.
const oldestQEMU = "6.2"

// qemuVerdict reads what `qemu-system-x86_64 --version` prints.
func qemuVerdict(output string) Check {
	_, rest, found := strings.Cut(output, "version ")
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return warn("qemu", "says no version: "+output, "install QEMU from the distribution's packages")
	}
	var major, minor, wantMajor, wantMinor int
	fmt.Sscanf(oldestQEMU, "%d.%d", &wantMajor, &wantMinor)
	if _, err := fmt.Sscanf(fields[0], "%d.%d", &major, &minor); err != nil || major < wantMajor || major == wantMajor && minor < wantMinor {
		return warn("qemu", "QEMU "+fields[0], "install QEMU "+oldestQEMU+" or newer")
	}
	return ok("qemu", "QEMU "+fields[0])
}

// tool is a program and the Debian package it is in.
type tool struct{ program, pkg string }

var (
	neededTools = []tool{
		{"mke2fs", "e2fsprogs"}, {"e2fsck", "e2fsprogs"}, {"mkfs.xfs", "xfsprogs"},
		{"depmod", "kmod"}, {"apt-get", "apt"}, {"dpkg-deb", "dpkg"},
	}
	usefulTools = []tool{
		{"buildah", "buildah"}, {"mmdebstrap", "mmdebstrap"}, {"mkfs.btrfs", "btrfs-progs"},
	}
)

// toolsVerdict lists the tools for which has is false.
func toolsVerdict(name string, level Level, why string, tools []tool, has func(program string) bool) Check {
	var present, missing, pkgs []string
	for _, t := range tools {
		if has(t.program) {
			present = append(present, t.program)
			continue
		}
		missing = append(missing, t.program)
		if !slices.Contains(pkgs, t.pkg) {
			pkgs = append(pkgs, t.pkg)
		}
	}
	if len(missing) > 0 {
		return Check{Name: name, Level: level, Detail: "missing: " + strings.Join(missing, ", ") + " (" + why + ")", Mend: "apt-get install " + strings.Join(pkgs, " ")}
	}
	return ok(name, strings.Join(present, ", "))
}

// Pool is what is known of the volume pool.
type Pool struct {
	Ready bool   // it can be used now; else the next `labd up` makes it
	Info  string // what it stands on, or will
	// Total, Free and Reserve are bytes; set if Ready.
	Total, Free, Reserve int64
}

func poolVerdict(p Pool, err error) Check {
	const name = "pool"
	if err != nil {
		return fail(name, err.Error(), "put the data directory on XFS or btrfs, or on a disk with room for the pool")
	}
	if !p.Ready {
		return ok(name, "not made yet: "+p.Info)
	}
	detail := fmt.Sprintf("%s, %s used, %s free: %s", bytes(p.Total), bytes(p.Total-p.Free), bytes(p.Free), p.Info)
	if p.Free <= p.Reserve {
		return warn(name, detail, "no new play will start: destroy plays (labctl playground destroy), remove images (labd image prune) or enlarge the pool")
	}
	return ok(name, detail)
}

// chain is one base chain of the host's firewall on the forward hook.
type chain struct {
	family, table, name string
	drop                bool
}

// forwardVerdict judges whether packets of plays get through the host. ours
// begins the names of labd's own tables, uplink the names of its links.
func forwardVerdict(ipForward string, chains []chain, ours, uplink string) Check {
	const name = "forward"
	var blocking []chain
	for _, c := range chains {
		if c.drop && !strings.HasPrefix(c.table, ours) {
			blocking = append(blocking, c)
		}
	}
	if len(blocking) > 0 {
		var names, mends []string
		for _, c := range blocking {
			where := c.family + " " + c.table + " " + c.name
			names = append(names, where)
			mends = append(mends,
				fmt.Sprintf("nft insert rule %s iifname \"%s*\" accept", where, uplink),
				fmt.Sprintf("nft insert rule %s oifname \"%s*\" ct state established,related accept", where, uplink))
		}
		return warn(name, "another firewall drops forwarded packets: "+strings.Join(names, ", "), "let machines reach out with: "+strings.Join(mends, "; "))
	}
	if strings.TrimSpace(ipForward) != "1" {
		return ok(name, "off now; labd switches it on while plays run")
	}
	return ok(name, "on, no other firewall in the way")
}

// cgroups is what a host can limit.
type cgroups struct {
	mode string // "v2", "v1", "hybrid", "none"
	// dirs maps a controller to the root of the hierarchy it lives in.
	dirs map[string]string
}

// readCgroups finds the controllers from /proc/mounts and, for v2, what
// cgroup.controllers of the given folder says.
func readCgroups(mounts string, controllers func(dir string) string) cgroups {
	c := cgroups{mode: "none", dirs: map[string]string{}}
	var v1, v2 bool
	for line := range strings.SplitSeq(mounts, "\n") {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		switch f[2] {
		case "cgroup":
			v1 = true
			for option := range strings.SplitSeq(f[3], ",") {
				switch option {
				case "cpu", "memory", "pids", "cpuset", "blkio":
					c.dirs[option] = f[1]
				}
			}
		case "cgroup2":
			v2 = true
			for name := range strings.FieldsSeq(controllers(f[1])) {
				if name == "io" {
					name = "blkio"
				}
				c.dirs[name] = f[1]
			}
		}
	}
	switch {
	case v1 && v2:
		c.mode = "hybrid"
	case v1:
		c.mode = "v1"
	case v2:
		c.mode = "v2"
	}
	return c
}

// verdict judges the controllers; try makes and removes a group in a
// hierarchy.
func (c cgroups) verdict(try func(dir string) error) Check {
	const name = "cgroups"
	var can, cannot []string
	for _, controller := range []string{"cpu", "memory", "pids"} {
		dir, found := c.dirs[controller]
		switch {
		case !found:
			cannot = append(cannot, controller)
		case try(dir) != nil:
			cannot = append(cannot, controller+" (read-only)")
		default:
			can = append(can, controller)
		}
	}
	detail := c.mode
	if len(can) > 0 {
		detail += ": can limit " + strings.Join(can, ", ")
	}
	if len(cannot) > 0 {
		return warn(name, detail+"; cannot limit "+strings.Join(cannot, ", "),
			"boot with systemd.unified_cgroup_hierarchy=1, or run labd outside of a container; until then machines have no limits there but QEMU's own")
	}
	return ok(name, detail)
}

const (
	fewDisk   = 10 << 30
	noDisk    = 2 << 30
	fewMemory = 2 << 30
	noMemory  = 512 << 20
)

// diskVerdict judges the room of the data directory, in bytes. poolReady
// tells that the volumes' room is already set aside.
func diskVerdict(dir string, free, total int64, poolReady bool) Check {
	detail := fmt.Sprintf("%s free of %s at %s", bytes(free), bytes(total), dir)
	least, enough := int64(noDisk), int64(fewDisk)
	if poolReady {
		least, enough = least/4, enough/5
	}
	switch {
	case free < least:
		return fail("disk", detail, fmt.Sprintf("make room: kernels and images need %s", bytes(least)))
	case free < enough:
		return warn("disk", detail, fmt.Sprintf("make room: a few images and plays need %s", bytes(enough)))
	}
	return ok("disk", detail)
}

// memoryVerdict reads /proc/meminfo.
func memoryVerdict(meminfo string) Check {
	value := func(key string) int64 {
		for line := range strings.SplitSeq(meminfo, "\n") {
			if rest, found := strings.CutPrefix(line, key+":"); found {
				kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				return kib << 10
			}
		}
		return 0
	}
	available, total := value("MemAvailable"), value("MemTotal")
	detail := fmt.Sprintf("%s available of %s", bytes(available), bytes(total))
	switch {
	case available < noMemory:
		return fail("memory", detail, "stop something: the smallest machine needs "+bytes(noMemory))
	case available < fewMemory:
		return warn("memory", detail, "stop something: labs of several machines need "+bytes(fewMemory)+" or more")
	}
	return ok("memory", detail)
}

// bytes prints a size: "1.5 GiB".
func bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[i]
}
