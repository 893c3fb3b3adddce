// Package initramfs builds the two archives a machine boots from. In goes the
// labinit binary and a kernel's modules (Shared, one for all machines of a
// kernel) or a machine's configuration (Machine); out comes a newc cpio
// archive. The kernel unpacks both when they are simply written one after the
// other. Pure apart from reading the modules: the same input gives the same
// bytes.
package initramfs

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"

	"sandlot/guest/initramfs/list"
	"sandlot/guest/wire"
)

const moduleDir = "/sandlot/modules"

// Shared writes the archive that every machine of one kernel has in common.
// labinit is the content of the static binary that becomes /init; modules is
// the directory lib/modules/<release> with its modules.dep and
// modules.builtin, or empty for a kernel that has everything built in.
func Shared(w io.Writer, labinit []byte, modules string) error {
	mods, err := resolveModules(modules, Wanted)
	if err != nil {
		return fmt.Errorf("cannot build initramfs: %v", err)
	}
	a := newArchive(w)
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run", "/newroot", moduleDir} {
		a.dir(dir)
	}
	// Without this node the kernel starts /init with no console at all: the
	// first mount of devtmpfs is labinit's own work.
	a.charDevice("/dev/console", 0o600, 5, 1)
	a.modules(list.Path, mods)
	a.file("/init", 0o755, labinit)
	return a.close()
}

// Filesystems writes an archive with the modules of more filesystems ("xfs",
// "btrfs", "overlay"), for machines that mount them. They are not in the
// shared archive because they would triple its size, which every boot unpacks.
func Filesystems(w io.Writer, modules string, kinds []string) error {
	// btrfs asks for its checksum by name: crc32c_generic before Linux 6.17.
	mods, err := resolveModules(modules, append(slices.Clone(kinds), "crc32c_cryptoapi"))
	if err != nil {
		return fmt.Errorf("cannot build initramfs: %v", err)
	}
	a := newArchive(w)
	a.modules(list.Extra, mods)
	return a.close()
}

// Machine writes the archive with one machine's configuration.
func Machine(w io.Writer, config wire.Config) error {
	body, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("cannot encode machine configuration: %v", err)
	}
	a := newArchive(w)
	a.dir(path.Dir(wire.ConfigPath))
	a.file(wire.ConfigPath, 0o600, body)
	return a.close()
}

// archive writes cpio entries with fixed owners and times; the first error
// sticks.
type archive struct {
	out   *counter
	cpio  *cpio.Writer
	known map[string]bool
	inode int64
	err   error
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func newArchive(w io.Writer) *archive {
	out := &counter{w: w}
	return &archive{out: out, cpio: cpio.NewWriter(out), known: map[string]bool{"/": true}}
}

// dir adds a directory and its parents, each once: the kernel's unpacker does
// not make missing parents.
func (a *archive) dir(name string) {
	if a.known[name] {
		return
	}
	a.dir(path.Dir(name))
	a.known[name] = true
	a.header(&cpio.Header{Name: name[1:], Mode: cpio.TypeDir | 0o755, Links: 2})
}

func (a *archive) modules(listFile string, mods []module) {
	var listing []list.Module
	for _, m := range mods {
		file := path.Join(moduleDir, m.name+".ko")
		listing = append(listing, list.Module{Name: m.name, File: file, Deps: m.deps})
		a.file(file, 0o644, m.data)
	}
	a.file(listFile, 0o644, []byte(list.Format(listing)))
}

func (a *archive) file(name string, mode cpio.FileMode, body []byte) {
	a.dir(path.Dir(name))
	a.header(&cpio.Header{Name: name[1:], Mode: cpio.TypeReg | mode, Size: int64(len(body)), Links: 1})
	if a.err == nil {
		_, a.err = a.cpio.Write(body)
	}
}

// charDevice writes its header by hand: the cpio library has no place for the
// numbers of the device a node stands for.
func (a *archive) charDevice(name string, mode, major, minor int) {
	if a.err == nil {
		a.err = a.cpio.Flush()
	}
	if a.err != nil {
		return
	}
	a.inode++
	name = name[1:]
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.inode, cpio.TypeChar|mode, 0, 0, 1, 0, 0, 0, 0, major, minor, len(name)+1, 0, name)
	head += strings.Repeat("\x00", (4-len(head)%4)%4)
	_, a.err = io.WriteString(a.out, head)
}

func (a *archive) header(h *cpio.Header) {
	if a.err != nil {
		return
	}
	a.inode++
	h.Inode = a.inode
	a.err = a.cpio.WriteHeader(h)
}

// close ends the archive on a multiple of four bytes, where the kernel looks
// for the next one.
func (a *archive) close() error {
	if a.err == nil {
		a.err = a.cpio.Close()
	}
	if a.err == nil && a.out.n%4 != 0 {
		_, a.err = a.out.Write(make([]byte, 4-a.out.n%4))
	}
	if a.err != nil {
		return fmt.Errorf("cannot write initramfs: %v", a.err)
	}
	return nil
}
