package image

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// addKernel puts a kernel's modules at /lib/modules/<release> and its boot
// files into /boot, wherever the image's symlinks lead (/lib is often a
// symlink to usr/lib). Modules of the same release in the image give way.
func addKernel(root *node, k Kernel) error {
	if k.ModulesDir != "" {
		dir, err := root.resolveDir("lib/modules")
		if err != nil {
			return fmt.Errorf("cannot add modules to image: %w", err)
		}
		tree := implicitDir()
		if err := addHostTree(tree, k.ModulesDir); err != nil {
			return fmt.Errorf("cannot add modules of kernel %s: %w", k.Release, err)
		}
		dir.children[k.Release] = tree
	}
	if k.BootDir != "" {
		dir, err := root.resolveDir("boot")
		if err != nil {
			return fmt.Errorf("cannot add boot files to image: %w", err)
		}
		if err := addHostTree(dir, k.BootDir); err != nil {
			return fmt.Errorf("cannot add boot files of kernel %s: %w", k.Release, err)
		}
	}
	return nil
}

// addHostTree adds the regular files, folders and symlinks below a folder of
// the host. They belong to root in the image, readable by everybody.
func addHostTree(at *node, dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	nodes := map[string]*node{dir: at}
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		parent := nodes[filepath.Dir(p)]
		ino := &inode{mode: 0o644, mtime: info.ModTime()}
		switch {
		case d.IsDir():
			ino.kind, ino.mode = kindDir, 0o755
			child := parent.children[d.Name()]
			if child == nil || !child.isDir() {
				child = newDir(ino)
				parent.children[d.Name()] = child
			}
			nodes[p] = child
			return nil
		case d.Type() == fs.ModeSymlink:
			ino.kind, ino.mode = kindSymlink, 0o777
			if ino.target, err = os.Readlink(p); err != nil {
				return err
			}
		case d.Type().IsRegular():
			ino.size, ino.stored, ino.host = info.Size(), roundUp(info.Size(), blockSize), p
		default:
			return fmt.Errorf("%q is neither file, folder nor symlink", p)
		}
		parent.children[d.Name()] = &node{inode: ino}
		return nil
	})
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
