package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poolMkfs is the command that makes a pool's filesystem in a file. -K: a
// discard would undo the preallocation.
func poolMkfs(file string) []string {
	return []string{"mkfs.xfs", "-q", "-K", "-m", "reflink=1", "-s", fmt.Sprintf("size=%d", loopBlock), "-L", "sandlot", file}
}

// maker is how one filesystem is made, and the package that has the program.
// min is the least size its tool accepts, in bytes.
type maker struct {
	argv []string
	pkg  string
	min  int64
}

// makers lists the filesystems of blank volumes. Everything that would write
// the whole volume is left to its first mount. xfsprogs is the version of the
// host's mkfs.xfs, like "6.1.0".
func makers(xfsprogs string) map[string]maker {
	// mke2fs's discard of the empty file costs nothing and tells it that all
	// reads as zeros: without it ext2 and ext3 would write out every inode.
	ext := func(kind string) maker {
		return maker{[]string{"mke2fs", "-q", "-F", "-t", kind, "-E", "lazy_itable_init=1,lazy_journal_init=1"}, "e2fsprogs", 4 << 20}
	}
	xfs := maker{append([]string{"mkfs.xfs", "-q", "-f", "-K"}, xfsFeatures(xfsprogs)...), "xfsprogs", 300 << 20}
	return map[string]maker{
		"ext2":  ext("ext2"),
		"ext3":  ext("ext3"),
		"ext4":  ext("ext4"),
		"xfs":   xfs,
		"btrfs": {[]string{"mkfs.btrfs", "-q", "-f", "-K"}, "btrfs-progs", 128 << 20},
	}
}

// xfsFeatures switches off what the oldest kernel we offer (5.10) cannot
// mount or calls experimental, as far as this xfsprogs knows it; each feature
// is refused by the versions before it. (xfsprogs' own lts_5.10.conf would
// say the same, but in Debian 12 its mkfs.xfs does not accept it.)
func xfsFeatures(xfsprogs string) []string {
	var major, minor int
	if _, err := fmt.Sscanf(xfsprogs, "%d.%d", &major, &minor); err != nil {
		return nil
	}
	since := func(a, b int) bool { return major > a || major == a && minor >= b }
	var args []string
	if since(5, 10) {
		args = append(args, "-m", "bigtime=0,inobtcount=0")
	}
	inode := "nrext64=0"
	if since(6, 10) {
		inode += ",exchange=0"
		args = append(args, "-n", "parent=0")
	}
	if since(5, 19) {
		args = append(args, "-i", inode)
	}
	return args
}

// xfsVersion asks the host's mkfs.xfs; empty if there is none.
func xfsVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "mkfs.xfs", "-V").Output()
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "mkfs.xfs version ")
}

// mke2fsConf stands in for the host's /etc/mke2fs.conf, so that a volume is
// the same from every host and mounts on the oldest kernel we offer.
const mke2fsConf = `[defaults]
	base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
	blocksize = 4096
	inode_size = 256
	inode_ratio = 16384
[fs_types]
	ext3 = {
		features = has_journal
	}
	ext4 = {
		features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
	}
`

// mkfs makes a filesystem in f, a file of size bytes that may have no name.
func mkfs(ctx context.Context, f *os.File, size int64, filesystem string) error {
	known := makers(xfsVersion(ctx))
	m, ok := known[filesystem]
	if !ok {
		names := make([]string, 0, len(known))
		for name := range known {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("there is no filesystem %q; known are %s", filesystem, strings.Join(names, ", "))
	}
	if size < m.min {
		return fmt.Errorf("%s needs a drive of at least %s, not %s", filesystem, human(m.min), human(size))
	}
	if _, err := exec.LookPath(m.argv[0]); err != nil {
		return fmt.Errorf("the program %s is missing; install the package %s", m.argv[0], m.pkg)
	}
	argv := slices.Clone(m.argv)
	if filesystem == "ext3" && size >= 1<<30 {
		// It has no extents, so its journal is written out: 256 MiB of zeros.
		argv = append(argv, "-J", "size=32")
	}
	conf, err := memfile("mke2fs.conf", mke2fsConf)
	if err != nil {
		return err
	}
	defer conf.Close()
	return runTool(ctx, []*os.File{f, conf}, append(argv, "/proc/self/fd/3"), []string{"MKE2FS_CONFIG=/proc/self/fd/4"})
}

func memfile(name, content string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteString(content); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// runTool runs a program that dies with labd; files become its descriptors
// from 3 on. What it prints is in the error.
func runTool(ctx context.Context, files []*os.File, argv, env []string) error {
	// The death signal is tied to the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, &out, files
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("the program %s is missing", argv[0])
	}
	if err != nil {
		text := strings.Join(strings.Fields(out.String()), " ")
		// The tools report a full pool as text only.
		if strings.Contains(text, "No space left") {
			return fmt.Errorf("%s: %s: %w", argv[0], text, unix.ENOSPC)
		}
		return fmt.Errorf("%s: %v: %s", argv[0], err, text)
	}
	return nil
}
