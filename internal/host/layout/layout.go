// Package layout alone knows the names of labd's files on disk; docs/files.md
// mirrors it. Pure: it builds paths and touches nothing.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
)

// DefaultDataDir is where labd keeps everything unless told otherwise.
const DefaultDataDir = "/var/lib/sandlot"

// Layout is the tree below one data directory.
type Layout struct{ Root string }

// Instance is four hex digits that tell the host objects (namespaces, links,
// tables, cgroups) of one data directory from those of another on the same
// host.
func (l Layout) Instance() string {
	sum := sha256.Sum256([]byte(filepath.Clean(l.Root)))
	return hex.EncodeToString(sum[:2])
}

// Lock is held by the one labd that uses this data directory.
func (l Layout) Lock() string { return filepath.Join(l.Root, "labd.lock") }

// State is the SQLite database.
func (l Layout) State() string { return filepath.Join(l.Root, "state.db") }

// Admin holds the credentials of the local administrator, mode 0600.
func (l Layout) Admin() string { return filepath.Join(l.Root, "admin.json") }

// Address is the root of the URLs at which labd answers, or answered last.
func (l Layout) Address() string { return filepath.Join(l.Root, "address") }

// CA is the certificate authority of this labd, key and certificate, mode 0600.
func (l Layout) CA() string { return filepath.Join(l.Root, "ca.pem") }

// ACME keeps the account and certificates of --acme-domain.
func (l Layout) ACME() string { return filepath.Join(l.Root, "acme") }

// Probe caches the KVM verdict, keyed by the host's boot id.
func (l Layout) Probe() string { return filepath.Join(l.Root, "kvm-probe.json") }

// Images is the image store: an OCI layout plus an index of names.
func (l Layout) Images() string { return filepath.Join(l.Root, "images") }

// Kernels holds one directory for each kernel version.
func (l Layout) Kernels() string { return filepath.Join(l.Root, "kernels") }

// SharedInitramfs is the part of the initramfs that all machines with one
// kernel and one labinit share.
func (l Layout) SharedInitramfs(key string) string {
	return filepath.Join(l.Root, "initramfs", key+".cpio")
}

// PoolImage is the preallocated XFS file, where the data directory itself has
// no reflink.
func (l Layout) PoolImage() string { return filepath.Join(l.Root, "pool.img") }

// Pool is the directory whose files can be cloned by reflink.
func (l Layout) Pool() string { return filepath.Join(l.Root, "pool") }

// Bases holds the base volumes, in the pool.
func (l Layout) Bases() string { return filepath.Join(l.Pool(), "bases") }

// Staging holds half-made base volumes, in the pool; emptied at start.
func (l Layout) Staging() string { return filepath.Join(l.Pool(), "staging") }

// Volumes holds one directory for each play, in the pool.
func (l Layout) Volumes() string { return filepath.Join(l.Pool(), "volumes") }

// PlayVolumes is the directory of one play's volumes.
func (l Layout) PlayVolumes(play string) string { return filepath.Join(l.Volumes(), play) }

// Volume is the file of drive number drive of machine number machine.
func (l Layout) Volume(play string, machine, drive int) string {
	return filepath.Join(l.PlayVolumes(play), fmt.Sprintf("m%d-vd%c.raw", machine, 'a'+drive))
}

// SavedDrives holds the drives that saved playgrounds are made of, in the pool.
func (l Layout) SavedDrives() string { return filepath.Join(l.Pool(), "saved") }

// SavedDrive is the file of one.
func (l Layout) SavedDrive(id string) string { return filepath.Join(l.SavedDrives(), id+".raw") }

// Registry holds what the play's registry stores, in the pool.
func (l Layout) Registry(play string) string {
	return filepath.Join(l.PlayVolumes(play), "registry")
}

// Plays holds one run directory for each play.
func (l Layout) Plays() string { return filepath.Join(l.Root, "plays") }

// Play is the run directory of one play.
func (l Layout) Play(play string) string { return filepath.Join(l.Plays(), play) }

// Machine is the run directory of machine number machine: sockets, console,
// pid record. It belongs to root: its VMM gets descriptors.
func (l Layout) Machine(play string, machine int) string {
	return filepath.Join(l.Play(play), fmt.Sprintf("m%d", machine))
}

// Initramfs is the concatenated initramfs of a machine.
func (l Layout) Initramfs(play string, machine int) string {
	return filepath.Join(l.Play(play), fmt.Sprintf("m%d.initramfs", machine))
}

// NetNS is the name of a play's network namespace.
func (l Layout) NetNS(play string) string { return l.NetNSPrefix() + play }

// Uplink is the name of the host's end of a play's uplink: at most 15 bytes.
func (l Layout) Uplink(play string) string { return l.UplinkPrefix() + play[:8] }

// Table is the name of the nftables table on the host.
func (l Layout) Table() string { return "sandlot-" + l.Instance() }

// UplinkPrefix begins the names of all uplinks of this instance.
func (l Layout) UplinkPrefix() string { return "sl" + l.Instance() }

// NetNSPrefix begins the names of all namespaces of this instance.
func (l Layout) NetNSPrefix() string { return "sandlot-" + l.Instance() + "-" }

// MachineName names machine number machine in cgroups and processes.
func (l Layout) MachineName(play string, machine int) string {
	return fmt.Sprintf("%s-m%d", play, machine)
}

// Cgroup is the name of the parent cgroup.
func (l Layout) Cgroup() string { return "sandlot-" + l.Instance() }
