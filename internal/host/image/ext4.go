package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

const (
	groupBytes = 128 << 20 // ext4 with 4 KiB blocks
	inodeBytes = 256
	// bytesPerInode is mke2fs's own default; a machine that grows its
	// filesystem gets inodes at the same rate.
	bytesPerInode = 16384
	journalMiB    = 64
	// growBlocks is what the reserved descriptor blocks must reach online:
	// 2 TiB. It costs 1 MiB for each copy of the descriptors.
	growBlocks = 2 << 40 / blockSize
	// slackBytes stay free in a base volume that is never grown.
	slackBytes = 64 << 20
	// features are spelled out, because those of the host's mke2fs.conf may be
	// newer than the oldest kernel we start (5.10 has no orphan_file).
	features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg," +
		"sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)

// filesystem says what to make.
type filesystem struct {
	bytes    int64 // a whole number of MiB
	inodes   int64
	uuid     string
	hashSeed string
	root     *inode // the attributes of the root directory
}

// planFilesystem sizes a filesystem so that the tree just fits, and derives
// its identifiers from the key. It errs on the large side by a few percent.
func planFilesystem(root *node, key string) filesystem {
	var inodes, blocks int64
	seen := map[*inode]bool{}
	var walk func(*node)
	walk = func(dir *node) {
		dirBytes := int64(24)
		for name, child := range dir.children {
			dirBytes += 8 + roundUp(int64(len(name)), 4)
			if child.isDir() {
				walk(child)
				continue
			}
			if !seen[child.inode] {
				seen[child.inode] = true
				inodes++
				blocks += inodeBlocks(child.inode)
			}
		}
		inodes++
		// A directory is indexed and its blocks are not full.
		blocks += dirBytes*3/2/blockSize + 1 + inodeBlocks(dir.inode)
	}
	walk(root)
	inodes += inodes/20 + 1024
	size := blocks*blockSize + inodes*inodeBytes
	size += size/50 + journalMiB<<20 + slackBytes
	// Each group has bitmaps; some have a copy of the descriptors.
	groups := size/groupBytes + 1
	size += groups*4*blockSize + min(groups, 8)*(2<<20)
	size += size / 100 // for root alone
	sum := sha256.Sum256([]byte(key))
	return filesystem{
		bytes:    roundUp(size, 4<<20),
		inodes:   inodes,
		uuid:     uuid(sum[:16]),
		hashSeed: uuid(sum[16:]),
		root:     root.inode,
	}
}

// inodeBlocks is what an inode takes beside its place in the inode table.
func inodeBlocks(ino *inode) int64 {
	n := ino.stored / blockSize
	// A block of the extent tree holds 340 extents; a sparse file may need one
	// extent for each block.
	n += n / 300
	if ino.kind == kindSymlink && len(ino.target) >= 60 {
		n++
	}
	if len(ino.xattrs) > 0 {
		n++
	}
	return n
}

func uuid(b []byte) string {
	b = bytes.Clone(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// mke2fsArgs is the command line for a filesystem in the file out, filled from
// the folder dir. prezeroed spares writing the journal and marks the inode
// tables as clean, so that no machine's kernel ever writes them in the
// background and swells its clone.
func mke2fsArgs(fs filesystem, prezeroed bool, dir, out string) []string {
	ext := []string{
		"lazy_itable_init=1", "lazy_journal_init=1", "nodiscard",
		"hash_seed=" + fs.hashSeed, "resize=" + strconv.FormatInt(growBlocks, 10),
	}
	if prezeroed {
		ext = append(ext, "assume_storage_prezeroed=1")
	}
	args := []string{
		"-q", "-F", "-t", "ext4", "-O", features, "-b", strconv.Itoa(blockSize), "-I", strconv.Itoa(inodeBytes),
		"-m", "1", "-J", "size=" + strconv.Itoa(journalMiB), "-U", fs.uuid, "-E", strings.Join(ext, ","),
		"-e", "remount-ro",
	}
	if fs.inodes > fs.bytes/bytesPerInode {
		args = append(args, "-N", strconv.FormatInt(fs.inodes, 10))
	} else {
		args = append(args, "-i", strconv.Itoa(bytesPerInode))
	}
	return append(args, "-d", dir, out, strconv.FormatInt(fs.bytes>>10, 10)+"k")
}

// rootCommands tells debugfs the attributes of the root directory, which
// mke2fs before 1.47.1 does not take from the folder.
func rootCommands(root *inode) string {
	var b strings.Builder
	fmt.Fprintf(&b, "set_inode_field <2> mode 0%o\n", 0o040000|root.mode)
	fmt.Fprintf(&b, "set_inode_field <2> uid %d\nset_inode_field <2> gid %d\n", root.uid, root.gid)
	if t := root.mtime.Unix(); t > 0 {
		fmt.Fprintf(&b, "set_inode_field <2> mtime @%d\n", t)
	}
	return b.String()
}

// makeFilesystem makes the file out from the folder dir and returns its size.
// Should the estimate prove too small, it tries again with more.
func (s *Store) makeFilesystem(ctx context.Context, fs filesystem, dir *os.File, out string) (int64, error) {
	for attempt := 1; ; attempt++ {
		output, err := s.tryFilesystem(ctx, fs, dir, out)
		if err == nil {
			return fs.bytes, nil
		}
		full := strings.Contains(output, "allocate") || strings.Contains(output, "No space")
		if !full || attempt == 4 || ctx.Err() != nil {
			return 0, fmt.Errorf("cannot make filesystem: mke2fs: %w: %s", err, lastLines(output, 4))
		}
		fs.bytes = roundUp(fs.bytes+fs.bytes/4+slackBytes, 4<<20)
		fs.inodes += fs.inodes / 4
	}
}

func (s *Store) tryFilesystem(ctx context.Context, fs filesystem, dir *os.File, out string) (string, error) {
	if err := os.Remove(out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	err = f.Truncate(fs.bytes)
	f.Close()
	if err != nil {
		return "", err
	}
	output, err := s.runFiles(ctx, "", []*os.File{dir}, s.opts.Programs.Mke2fs, mke2fsArgs(fs, true, firstFile, out)...)
	// e2fsprogs before 1.47 does not know the option and stops at once.
	if err != nil && strings.Contains(output, "assume_storage_prezeroed") && strings.Contains(output, "Bad option") {
		output, err = s.runFiles(ctx, "", []*os.File{dir}, s.opts.Programs.Mke2fs, mke2fsArgs(fs, false, firstFile, out)...)
	}
	if err == nil {
		output, err = s.runFiles(ctx, rootCommands(fs.root), nil, s.opts.Programs.Debugfs, "-w", "-f", "-", out)
	}
	return output, err
}

// checkFilesystem is the gate: nothing that e2fsck finds fault with is kept.
func (s *Store) checkFilesystem(ctx context.Context, file string) error {
	if output, err := s.run(ctx, s.opts.Programs.E2fsck, "-fn", file); err != nil {
		return fmt.Errorf("cannot accept filesystem: e2fsck: %w: %s", err, lastLines(output, 6))
	}
	return nil
}

// run runs a tool that ends with the context and with this process, and
// returns what it printed.
func (s *Store) run(ctx context.Context, program string, args ...string) (string, error) {
	return s.runFiles(ctx, "", nil, program, args...)
}

// firstFile is the path under which a tool finds the first of its files.
const firstFile = "/proc/self/fd/3"

func (s *Store) runFiles(ctx context.Context, input string, files []*os.File, program string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.ExtraFiles = files
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "E2FSPROGS_FAKE_TIME=1", "SOURCE_DATE_EPOCH=1")
	err := runTied(cmd)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.String(), err
}

// runTied runs cmd so that the kernel kills it when this process dies. The
// kernel ties that to the thread that started it, so the thread is kept.
func runTied(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return onOneThread(cmd.Run)
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
