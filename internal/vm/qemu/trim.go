//go:build linux

package qemu

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sandlot/internal/vm"
	"sandlot/internal/vm/launch"
)

// trim keeps a guest that prints for ever from filling the disk. QEMU appends
// to both files, so after a cut it goes on at the front. While no labd runs
// nobody looks; the next one cuts first thing.
func (m *machine) trim() {
	// Failing leaves the files as they are, until the next look.
	_ = trimFile(filepath.Join(m.spec.Dir, vm.ConsoleFile), filepath.Join(m.spec.Dir, vm.ConsoleOldFile), m.driver.options.ConsoleLimit)
	log := filepath.Join(m.spec.Dir, launch.LogFile)
	_ = trimFile(log, log+".old", m.driver.options.ConsoleLimit)
}

// trimFile moves the last limit bytes of a file over limit to old and empties
// it. What is written between the two is lost.
func trimFile(path, old string, limit int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= limit {
		return err
	}
	copied, err := os.OpenFile(old+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(copied, io.NewSectionReader(f, info.Size()-limit, limit))
	if err = errors.Join(err, copied.Close()); err == nil {
		err = os.Rename(old+".new", old)
	}
	// The disk may be full already: better no old part than no cut.
	if cut := f.Truncate(0); cut != nil {
		return fmt.Errorf("cannot cut %s: %v", path, cut)
	}
	return err
}
