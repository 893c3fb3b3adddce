package manifest

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const machinesPath = "playground.machines"

func (c *checker) machines() {
	machines := c.m.Playground.Machines
	switch {
	case machines == nil && c.mode == Update:
		c.missing(machinesPath, "give 1 to 5")
	case machines == nil && c.mode == Effective:
		c.missing(machinesPath, "give 1 to 5: the base has none")
	case machines != nil && len(machines) == 0:
		c.errorf(machinesPath, "give 1 to 5, or leave the field out to take the base's", "no machines")
	case len(machines) > MaxMachines:
		c.errorf(index(machinesPath, MaxMachines), fmt.Sprintf("a play has at most %d", MaxMachines), "%d machines", len(machines))
	}
	first := map[string]int{}
	for i := range machines {
		m, at := &machines[i], index(machinesPath, i)
		name := join(at, "name")
		if c.hostname(name, m.Name, "a machine name") {
			if before, ok := first[m.Name]; ok {
				c.errorf(name, "give each machine its own", "%q is also the name of %s", m.Name, index(machinesPath, before))
			} else {
				first[m.Name] = i
			}
			if m.Name == "localhost" {
				c.errorf(name, "choose another name", `"localhost" always means the machine itself`)
			}
		}
		c.users(m, join(at, "users"))
		c.oneOf(join(at, "backend"), m.Backend, "a backend", Backends)
		c.kernel(m.Kernel, at+".kernel.source")
		c.drives(m, join(at, "drives"))
		c.interfaces(m, at+".network.interfaces")
		c.resources(m.Resources, join(at, "resources"))
		c.startupFiles(m, join(at, "startupFiles"))
	}
	c.driveTotal()
}

func (c *checker) users(m *Machine, at string) {
	if len(m.Users) == 0 {
		c.missing(at, `list at least one, as "users: [{name: root}]"`)
	}
	first := map[string]int{}
	chosen := -1
	for i, u := range m.Users {
		name := join(index(at, i), "name")
		if u.Name == "" {
			c.missing(name, "")
		} else if !userPattern.MatchString(u.Name) {
			c.errorf(name, "use 1 to 32 letters, digits, hyphens and underscores, no digit first", "%q is not a user name", short(u.Name))
		} else if before, ok := first[u.Name]; ok {
			c.errorf(name, "list each user once", "%q is also %s", u.Name, index(at, before))
		} else {
			first[u.Name] = i
		}
		if u.Default {
			if chosen >= 0 {
				c.errorf(join(index(at, i), "default"), "keep one", "%q and %q are both the default user", m.Users[chosen].Name, u.Name)
			}
			chosen = i
		}
	}
}

var kernelPattern = regexp.MustCompile(`^[0-9]+\.[0-9]+[0-9A-Za-z.+_-]{0,32}$`)

func (c *checker) kernel(k *Kernel, at string) {
	if k == nil || k.Source == "" || k.Snapshot != nil {
		return
	}
	if !kernelPattern.MatchString(k.Source) {
		c.errorf(at, `write a version, like "5.10", "6.1", "6.12" or "6.18"`, "%q is not a kernel version", short(k.Source))
	}
}

func (c *checker) drives(m *Machine, at string) {
	switch n := len(m.Drives); {
	case n == 0:
		c.missing(at, `list at least the root drive, as "drives: [{source: debian-12, mount: /}]"`)
		return
	case n > MaxDrives:
		c.errorf(index(at, MaxDrives), fmt.Sprintf("a machine has at most %d", MaxDrives), "%d drives", n)
	}
	mounts := map[string]int{}
	for i := range m.Drives {
		d, at2 := &m.Drives[i], index(at, i)
		if d.Mount != "" && c.mount(join(at2, "mount"), d.Mount) {
			if before, ok := mounts[d.Mount]; ok {
				c.errorf(join(at2, "mount"), "mount each drive at its own place", "%q is also the mount of %s", short(d.Mount), index(at, before))
			} else {
				mounts[d.Mount] = i
			}
		}
		c.oneOf(join(at2, "filesystem"), d.Filesystem, "a filesystem", Filesystems)
		c.driveSource(d, at2)
		if _, problem, fix := driveSize(d.Size); problem != "" {
			c.errorf(join(at2, "size"), fix, "%s", problem)
		}
	}
	root, ok := mounts["/"]
	switch {
	case !ok && len(m.Drives) == 1 && m.Drives[0].Mount == "":
		c.missing(join(index(at, 0), "mount"), `write "mount: /": one drive of every machine is its root`)
	case !ok:
		c.errorf(at, `write "mount: /" on the one to boot from`, "no drive is the root")
	case m.Drives[root].ReadOnly:
		c.warnf(join(index(at, root), "readOnly"), "leave it out", "the root drive is read-only: what the machine writes there is in its memory, and gone after a reboot")
	}
}

// systemDirs are the kernel's and the boot's own.
var systemDirs = []string{"/proc", "/sys", "/dev", "/run", "/var/run"}

// bootDirs hold what a machine boots from: a drive there would hide it. Below
// them is fine.
var bootDirs = []string{
	"/etc", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
	"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32",
}

// below tells whether a plain path is dir or in it.
func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func (c *checker) mount(at, mount string) bool {
	if !path.IsAbs(mount) {
		c.errorf(at, `write an absolute path, like "/data"`, "%q is not a mount point", short(mount))
		return false
	}
	if clean := path.Clean(mount); clean != mount {
		c.errorf(at, fmt.Sprintf("write %q", short(clean)), "%q is not a plain path", short(mount))
		return false
	}
	if strings.ContainsFunc(mount, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\\' }) {
		c.errorf(at, "leave spaces and backslashes out: they mean something in fstab", "%q is not a mount point", short(mount))
		return false
	}
	for _, dir := range systemDirs {
		if below(mount, dir) {
			c.errorf(at, `choose another place, like "/data"`, "%q belongs to the system", short(mount))
			return false
		}
	}
	if slices.Contains(bootDirs, mount) {
		c.errorf(at, `choose another place, like "/data" or "/usr/local"`, "a drive at %q would hide what the machine boots from", mount)
		return false
	}
	return true
}

func (c *checker) driveSource(d *Drive, at string) {
	source := join(at, "source")
	switch {
	case d.Source == "snapshot":
		if d.Snapshot == nil {
			c.errorf(source, `write a named image or "oci://registry/repo:tag"`, `"snapshot" appears in dumps only`)
		}
		return
	case d.Source == "" && d.Mount == "/":
		c.missing(source, `the root drive needs a named image or "oci://registry/repo:tag"`)
		return
	case d.Source == "":
		if d.ReadOnly && (d.Filesystem != "" || d.Mount != "") {
			c.errorf(join(at, "readOnly"), "give the drive a source, or leave readOnly out", "an empty drive that is read-only cannot be formatted")
		}
		return
	}
	if fix := sourceFix(d.Source); fix != "" {
		c.errorf(source, fix, "%q is not a source", short(d.Source))
		return
	}
	if d.Filesystem != "" && d.Filesystem != DefaultFilesystem {
		c.warnf(join(at, "filesystem"), "leave it out", "a drive with a source is always %s", DefaultFilesystem)
	}
}

var (
	imagePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)
	ociPattern   = regexp.MustCompile(`^(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?/)?` + // registry
		`[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*` + // repository
		`(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?` + // tag
		`(?:@sha256:[0-9a-f]{64})?$`)
	schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
)

// sourceFix is empty for a valid source, else what to write.
func sourceFix(source string) string {
	if len(source) > 512 {
		return "shorten it"
	}
	if ref, ok := strings.CutPrefix(source, "oci://"); ok {
		if ociPattern.MatchString(ref) {
			return ""
		}
		if lower := strings.ToLower(ref); ociPattern.MatchString(lower) {
			return fmt.Sprintf("write %q", "oci://"+lower)
		}
		return `write "oci://registry/repo[:tag][@sha256:digest]"`
	}
	if imagePattern.MatchString(source) {
		return ""
	}
	ref := schemePattern.ReplaceAllString(source, "")
	if !strings.Contains(ref, "/") {
		ref = "docker.io/library/" + ref
	}
	if ociPattern.MatchString(ref) && !strings.HasSuffix(ref, ":") {
		return fmt.Sprintf("write %q", "oci://"+ref)
	}
	return `write a named image like "debian-12", or "oci://registry/repo:tag"`
}

// driveSize reads a drive's size in bytes; absent is the default's. problem is
// empty when the size is in bounds.
func driveSize(size string) (bytes int64, problem, fix string) {
	if size == "" {
		size = DefaultDriveSize
	}
	bytes, err := ParseSize(size)
	switch {
	case err != nil:
		return 0, strings.ReplaceAll(err.Error(), size, short(size)), sizeFix(size, "GiB", DefaultDriveSize)
	case bytes < MinDrive:
		return bytes, fmt.Sprintf("%q is below the least, %s", size, FormatSize(MinDrive)), fmt.Sprintf("write %q", FormatSize(MinDrive))
	case bytes > MaxDrive:
		return bytes, fmt.Sprintf("%q is above the most, %s", size, FormatSize(MaxDrive)), fmt.Sprintf("write %q", FormatSize(MaxDrive))
	}
	return bytes, "", ""
}

var bareNumber = regexp.MustCompile(`^[0-9]{1,9}(?:\.[0-9]{1,9})?$`)

func sizeFix(size, unit, example string) string {
	if bareNumber.MatchString(size) {
		return fmt.Sprintf("write the unit, as %q", size+unit)
	}
	return fmt.Sprintf("write it like %q", example)
}

// driveTotal adds up the play's drives. Sizes that a partial manifest leaves
// out may come from the base: they count in the effective one.
func (c *checker) driveTotal() {
	var total int64
	last := machinesPath
	for i, m := range c.m.Playground.Machines {
		for j, d := range m.Drives {
			if d.Size == "" && c.mode != Effective {
				continue
			}
			size, problem, _ := driveSize(d.Size)
			if problem != "" {
				continue
			}
			before := total
			if total += size; before <= MaxDriveTotal && total > MaxDriveTotal {
				last = join(index(join(index(machinesPath, i), "drives"), j), "size")
			}
		}
	}
	if total > MaxDriveTotal {
		c.errorf(last, fmt.Sprintf("take away %s", FormatSize(total-MaxDriveTotal)),
			"the drives of all machines are %s together, above the most, %s", FormatSize(total), FormatSize(MaxDriveTotal))
	}
}

func (c *checker) resources(r *Resources, at string) {
	if r == nil {
		return
	}
	if cpu := join(at, "cpuCount"); r.CPUCount < 0 || (r.CPUCount == 0 && c.given(cpu)) {
		c.errorf(cpu, "write 1 or more", "%d is not a number of CPUs", r.CPUCount)
	} else if r.CPUCount > MaxCPUs {
		c.errorf(cpu, fmt.Sprintf("write at most %d", MaxCPUs), "%d CPUs are too many", r.CPUCount)
	}
	if r.RAMSize == "" {
		return
	}
	ram := join(at, "ramSize")
	switch bytes, err := ParseSize(r.RAMSize); {
	case err != nil:
		c.errorf(ram, sizeFix(r.RAMSize, "GiB", "2GiB"), "%q is not a size", short(r.RAMSize))
	case bytes < MinRAM:
		c.errorf(ram, fmt.Sprintf("write at least %q", FormatSize(MinRAM)), "%q is too little to boot with", r.RAMSize)
	case bytes > MaxRAM:
		c.errorf(ram, fmt.Sprintf("write at most %q", FormatSize(MaxRAM)), "%q is too much", r.RAMSize)
	}
}

var (
	ownerPattern = regexp.MustCompile(`^(?:[0-9]{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,31})(?::(?:[0-9]{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,31}))?$`)
	modePattern  = regexp.MustCompile(`^0*[0-7]{1,4}$`)
)

func (c *checker) startupFiles(m *Machine, at string) {
	if n := len(m.StartupFiles); n > MaxStartupFiles {
		c.errorf(index(at, MaxStartupFiles), fmt.Sprintf("a machine has at most %d; put the rest into an image", MaxStartupFiles), "%d startup files", n)
	}
	whole := map[string]int{}
	for i, f := range m.StartupFiles {
		at2 := index(at, i)
		file := join(at2, "path")
		switch clean := path.Clean(f.Path); {
		case f.Path == "":
			c.missing(file, `write an absolute path, like "/etc/motd"`)
		case !path.IsAbs(f.Path):
			fix := `write an absolute path, like "/etc/motd"`
			if strings.HasPrefix(f.Path, "~") {
				fix = `write the home directory out, like "/home/laborant/…"`
			}
			c.errorf(file, fix, "%q is not an absolute path", short(f.Path))
		case strings.ContainsFunc(f.Path, unicode.IsControl):
			c.errorf(file, "", "%q is not a path", short(f.Path))
		case clean != f.Path || clean == "/" || slices.Contains(strings.Split(f.Path, "/"), ".."):
			fix := "name a file"
			if clean != "/" && !strings.HasSuffix(f.Path, "/") {
				fix = fmt.Sprintf("write %q", short(clean))
			}
			c.errorf(file, fix, "%q is not the plain path of a file", short(f.Path))
		case below(f.Path, "/proc"), below(f.Path, "/sys"), below(f.Path, "/dev"):
			c.errorf(file, "choose another place, or write it in an init task", "%q belongs to the system", short(f.Path))
		default:
			if below(f.Path, "/run") {
				c.warnf(file, "choose another place, or let a unit write it at every boot", "%q is gone after a reboot: /run is empty at every boot", short(f.Path))
			}
			if before, ok := whole[f.Path]; ok && !f.Append {
				c.warnf(file, `write "append: true" or merge them`, "%q overwrites %s", short(f.Path), index(at, before))
			}
			whole[f.Path] = i
			c.fileCollides(m, at, i)
		}
		if f.Owner != "" && !isOwner(f.Owner) {
			c.errorf(join(at2, "owner"), `write "user", "user:group" or numbers like "1000:1000"`, "%q is not an owner", short(f.Owner))
		}
		if f.Mode != "" && !modePattern.MatchString(f.Mode) {
			c.errorf(join(at2, "mode"), `write octal digits, like "644"`, "%q is not a mode", short(f.Mode))
		}
	}
}

// fileCollides reports a startup file that another file or a drive leaves no
// place for.
func (c *checker) fileCollides(m *Machine, at string, i int) {
	file, at2 := m.StartupFiles[i].Path, join(index(at, i), "path")
	for j, d := range m.Drives[:min(len(m.Drives), MaxDrives)] {
		if d.Mount == file {
			c.errorf(at2, "name a file below it", "%q is the folder where %s is mounted", short(file), index(strings.TrimSuffix(at, "startupFiles")+"drives", j))
			return
		}
	}
	for j, other := range m.StartupFiles[:min(len(m.StartupFiles), MaxStartupFiles)] {
		if other.Path != "" && other.Path != file && below(file, other.Path) {
			c.errorf(at2, "change one of them", "%q is below %q, which %s makes a file", short(file), short(other.Path), index(at, j))
			return
		}
	}
}

// isOwner also tells numbers that no account can have.
func isOwner(owner string) bool {
	if !ownerPattern.MatchString(owner) {
		return false
	}
	for part := range strings.SplitSeq(owner, ":") {
		if n, err := strconv.ParseUint(part, 10, 64); err == nil && n >= math.MaxUint32 {
			return false
		}
	}
	return true
}
