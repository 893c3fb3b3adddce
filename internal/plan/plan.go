// Package plan answers every question a manifest leaves open. In go an
// effective manifest (package manifest), the play's id and facts about the
// host; out comes a Plan: addresses, MACs, devices, routes, names, limits, the
// task graph. Pure, and the same input always gives the same plan: golden
// files show its diffs in review.
//
// A machine's MACs, taps and devices depend on its place in the manifest and
// not on the play, so that a snapshot of one play can become another.
package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sandlot/internal/manifest"
	"sandlot/internal/play"
)

// Cmdline is what every kernel gets; drivers add their console. The names of
// interfaces are eth0, eth1, … in every distribution.
const Cmdline = "net.ifnames=0 biosdevname=0 quiet"

// firstUID is the first of the host's users that VMMs run as: eight for each
// play, by the first 24 bits of its id, all below 2³¹.
const firstUID = 1_600_000_000

// uplinks is where plays and the host talk: 198.18.0.0/15 is set aside for
// tests of network devices (RFC 2544), so no real network uses it.
var uplinks = netip.MustParsePrefix("198.18.0.0/15")

// MaxUplinks is how many /31 pairs there are.
const MaxUplinks = 1 << 16

// Make resolves an effective manifest, as manifest.Inherit returns it. If any
// problem is an error, the plan is nil and the problems are all there are.
func Make(id play.ID, m *manifest.Manifest, f Facts) (*Plan, manifest.Problems) {
	if _, err := play.ParseID(string(id)); err != nil {
		return nil, manifest.Problems{{Severity: manifest.Error, Message: err.Error()}}
	}
	p := &planner{
		manifest: m,
		facts:    f,
		problems: manifest.Validate(m, manifest.Effective).Errors(),
		plan:     &Plan{Play: id, Playground: m.Name, Networks: []Network{}, Machines: []Machine{}, Names: []Name{}, Notes: []string{}, Tasks: []Task{}},
	}
	// What the host lacks is reported beside what is wrong in the manifest;
	// addresses make sense in a sound one only.
	sound := len(p.problems) == 0
	p.uplink()
	p.machines()
	if sound {
		p.networks()
		p.interfaces()
		p.conditions()
		p.tasks()
	}
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return p.plan, nil
}

type planner struct {
	manifest *manifest.Manifest
	facts    Facts
	problems manifest.Problems
	plan     *Plan
}

func (p *planner) errorf(path, fix, format string, args ...any) {
	p.problems = append(p.problems, p.manifest.At(manifest.Error, path, fmt.Sprintf(format, args...), fix))
}

func (p *planner) note(format string, args ...any) {
	p.plan.Notes = append(p.plan.Notes, fmt.Sprintf(format, args...))
}

func (p *planner) uplink() {
	i := p.facts.UplinkIndex
	if i < 0 || i >= MaxUplinks {
		p.errorf("", "destroy plays that are not needed", "no uplink is left on this host: index %d of %d", i, MaxUplinks)
		return
	}
	base := uplinks.Addr().As4()
	host := netip.AddrFrom4([4]byte{base[0], base[1] + byte(i>>15), byte(i >> 7), byte(i << 1)})
	p.plan.Uplink = Uplink{Index: i, Host: netip.PrefixFrom(host, 31), Play: netip.PrefixFrom(host.Next(), 31)}
}

func (p *planner) machines() {
	machines := p.manifest.Playground.Machines
	resources := p.resources(machines)
	// 24 bits: the first six digits of an id that was checked.
	owner, err := strconv.ParseUint(string(p.plan.Play[:6]), 16, 32)
	if err != nil {
		panic(err)
	}
	for i := range machines {
		m := &machines[i]
		path := machinePath(i)
		sum := sha256.Sum256([]byte(string(p.plan.Play) + "/" + m.Name))
		users, defaultUser := accounts(m.Users)
		p.plan.Machines = append(p.plan.Machines, Machine{
			Name:         m.Name,
			Backend:      p.backend(path, m),
			UID:          firstUID + uint32(owner)*8 + uint32(i),
			Kernel:       p.kernel(path, m.Kernel),
			CPUs:         resources[i].cpus,
			MemoryMiB:    resources[i].memory,
			Users:        users,
			DefaultUser:  defaultUser,
			Drives:       p.drives(path, m.Drives),
			Interfaces:   []Interface{},
			StartupFiles: startupFiles(m.StartupFiles),
			NoSSH:        m.NoSSH,
			Cmdline:      Cmdline,
			MachineID:    hex.EncodeToString(sum[:16]),
		})
	}
}

func machinePath(i int) string { return "playground.machines[" + strconv.Itoa(i) + "]" }

// accounts adds root, and picks the user that logins get: the one marked,
// else the first.
func accounts(users []manifest.User) (all []User, login string) {
	for _, u := range users {
		all = append(all, User{Name: u.Name, Welcome: u.Welcome})
		if u.Default || login == "" {
			login = u.Name
		}
	}
	if !slices.ContainsFunc(all, func(u User) bool { return u.Name == "root" }) {
		all = append(all, User{Name: "root"})
	}
	if login == "" {
		login = "root"
	}
	return all, login
}

func (p *planner) kernel(path string, k *manifest.Kernel) string {
	version := manifest.DefaultKernel
	if k != nil && k.Source != "" {
		version = k.Source
	}
	if k != nil && k.Snapshot != nil {
		p.errorf(path+".kernel.source", "write a version", "kernels of snapshots cannot be started here")
		return version
	}
	if !slices.Contains(p.facts.Kernels, version) {
		fix := "it has " + strings.Join(p.facts.Kernels, ", ") + `; get others with "labd kernel pull"`
		if len(p.facts.Kernels) == 0 {
			fix = `get one with "labd kernel pull"`
		}
		p.errorf(path+".kernel.source", fix, "kernel %q is not in this host's store", version)
	}
	return version
}

func (p *planner) drives(path string, drives []manifest.Drive) []Drive {
	out := make([]Drive, len(drives))
	for i, d := range drives {
		size := d.Size
		if size == "" {
			size = manifest.DefaultDriveSize
		}
		// A size that cannot be read is among the manifest's problems.
		bytes, _ := manifest.ParseSize(size)
		drive := Drive{
			Device:     "/dev/vd" + string(rune('a'+i%26)),
			Source:     d.Source,
			SizeBytes:  bytes,
			Filesystem: d.Filesystem,
			Mount:      d.Mount,
			ReadOnly:   d.ReadOnly,
		}
		switch {
		case d.Snapshot != nil:
			if _, err := play.ParseID(d.Snapshot.ID); err != nil {
				p.errorf(fmt.Sprintf("%s.drives[%d].snapshot", path, i), `write a named image or "oci://registry/repo:tag"`, "%q is no saved drive", d.Snapshot.ID)
			}
			drive.Source, drive.Saved = "", d.Snapshot.ID
			if d.Mount != "" && d.Filesystem == "" {
				drive.Filesystem = manifest.DefaultFilesystem
			}
		case d.Source != "", d.Mount != "" && d.Filesystem == "":
			// Base volumes are always ext4.
			drive.Filesystem = manifest.DefaultFilesystem
		}
		out[i] = drive
	}
	return out
}

func startupFiles(files []manifest.StartupFile) []StartupFile {
	out := make([]StartupFile, len(files))
	for i, f := range files {
		mode := strings.TrimLeft(f.Mode, "0")
		if f.Mode != "" {
			mode = strings.Repeat("0", max(4-len(mode), 0)) + mode
		}
		out[i] = StartupFile{Path: f.Path, Content: f.Content, Append: f.Append, Owner: f.Owner, Mode: mode}
	}
	return out
}
