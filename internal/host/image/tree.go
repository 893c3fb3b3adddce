package image

import (
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// kind is the type of an inode.
type kind byte

const (
	kindFile kind = iota
	kindDir
	kindSymlink
	kindChar
	kindBlock
	kindFifo
)

// inode is one file of an image, under as many names as link to it. It never
// changes once it is in the tree, so a name bound to it keeps it whatever later
// layers do to its other names.
type inode struct {
	kind     kind
	mode     uint32 // permission, setuid, setgid and sticky bits: 07777
	uid, gid uint32
	mtime    time.Time
	xattrs   map[string]string
	size     int64  // of a regular file, holes included
	stored   int64  // bytes of it that are not holes, in whole blocks
	content  int64  // number of its file in the sink; 0 means no stored bytes
	target   string // of a symlink
	major    uint32
	minor    uint32
	host     string // a file of the host (a kernel's) that holds the content
}

// node is one name in the tree. Only directories have children.
type node struct {
	inode    *inode
	children map[string]*node
}

func newDir(ino *inode) *node { return &node{inode: ino, children: map[string]*node{}} }

func (n *node) isDir() bool { return n.inode.kind == kindDir }

// sorted yields the children by name.
func (n *node) sorted() iter.Seq2[string, *node] {
	return func(yield func(string, *node) bool) {
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			if !yield(name, n.children[name]) {
				return
			}
		}
	}
}

// implicitDir is the directory that a layer uses without declaring it.
func implicitDir() *node {
	return newDir(&inode{kind: kindDir, mode: 0o755, mtime: time.Unix(0, 0)})
}

// op is what one entry of a layer asks for.
type op byte

const (
	opPut      op = iota // bind path to inode
	opLink               // bind path to the inode that target has
	opWhiteout           // hide path of lower layers
	opOpaque             // hide everything below path of lower layers
)

// entry is one entry of a layer. Paths are clean: no "", "." or ".."
// components, no slash at either end; the root is "".
type entry struct {
	op     op
	path   string
	target string // of opLink
	inode  *inode // of opPut
}

// cleanPath checks a path of a layer and brings it to the form of entry.path.
// A leading slash means the image's own root, as for every other reader of
// layers; ".." is refused even where it would stay inside.
func cleanPath(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("path of %d bytes is longer than %d", len(name), maxPath)
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", fmt.Errorf("path %q leaves the image", name)
		case len(part) > maxName:
			return "", fmt.Errorf("path %.80q…: a name is longer than %d bytes", name, maxName)
		case strings.IndexByte(part, 0) >= 0:
			return "", fmt.Errorf("path %q has a NUL byte", name)
		}
		parts = append(parts, part)
	}
	if len(parts) > maxDepth {
		return "", fmt.Errorf("path %.80q… is more than %d folders deep", name, maxDepth)
	}
	return strings.Join(parts, "/"), nil
}

// mergeLayers applies the layers in order, lowest first, and returns the root.
func mergeLayers(layers [][]entry) (*node, error) {
	root := implicitDir()
	for i, entries := range layers {
		if err := applyLayer(root, entries); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return root, nil
}

// applyLayer changes the tree of the lower layers into that with one more. The
// rules are those of the OCI image specification's layer.md:
//
//   - whiteouts hide lower layers only, wherever they stand in the layer, so
//     they are all carried out before any entry;
//   - a directory over a directory takes the new attributes and keeps its
//     children; anything else replaces what was there;
//   - a hard link binds to the inode its target has at that moment.
func applyLayer(root *node, entries []entry) error {
	hidden := map[string]*node{}
	for i := range entries {
		switch e := &entries[i]; e.op {
		case opWhiteout:
			dir, name := path.Split(e.path)
			if parent := root.find(strings.TrimSuffix(dir, "/")); parent != nil && parent.children[name] != nil {
				hidden[e.path] = parent.children[name]
				delete(parent.children, name)
			}
		case opOpaque:
			if dir := root.find(e.path); dir != nil && dir.isDir() {
				for name, child := range dir.children {
					hidden[path.Join(e.path, name)] = child
				}
				dir.children = map[string]*node{}
			}
		}
	}
	for i := range entries {
		e := &entries[i]
		switch e.op {
		case opPut:
			if err := root.put(e.path, e.inode); err != nil {
				return err
			}
		case opLink:
			if err := root.link(e.path, e.target, hidden); err != nil {
				return err
			}
		}
	}
	return nil
}

// find returns the node at a path, or nil. It follows no symlink.
func (n *node) find(p string) *node {
	if p == "" {
		return n
	}
	for name := range strings.SplitSeq(p, "/") {
		if n = n.children[name]; n == nil {
			return nil
		}
	}
	return n
}

// parent returns the directory of a path, made where missing, and the last
// name. A path that goes through a symlink is refused: whether it would stay
// inside depends on what the link points to when the image runs.
func (n *node) parent(p string) (*node, string, error) {
	dir, name := path.Split(p)
	if dir == "" {
		return n, name, nil
	}
	dir = dir[:len(dir)-1]
	for part := range strings.SplitSeq(dir, "/") {
		child := n.children[part]
		switch {
		case child == nil:
			child = implicitDir()
			n.children[part] = child
		case child.inode.kind == kindSymlink:
			return nil, "", fmt.Errorf("path %q goes through the symlink %q", p, part)
		case !child.isDir():
			return nil, "", fmt.Errorf("path %q goes through %q, which is not a directory", p, part)
		}
		n = child
	}
	return n, name, nil
}

func (n *node) put(p string, ino *inode) error {
	if p == "" {
		if ino.kind != kindDir {
			return fmt.Errorf("the root is not a directory")
		}
		n.inode = ino
		return nil
	}
	parent, name, err := n.parent(p)
	if err != nil {
		return err
	}
	if ino.kind != kindDir {
		parent.children[name] = &node{inode: ino}
		return nil
	}
	if old := parent.children[name]; old != nil && old.isDir() {
		old.inode = ino
		return nil
	}
	parent.children[name] = newDir(ino)
	return nil
}

// link binds p to the inode of target. hidden holds what this layer's own
// whiteouts removed: a layer may link to a file and remove its old name.
func (n *node) link(p, target string, hidden map[string]*node) error {
	found := n.find(target)
	for prefix, rest := target, ""; found == nil && prefix != ""; {
		if h := hidden[prefix]; h != nil {
			found = h.find(rest)
			break
		}
		dir, last := path.Split(prefix)
		prefix, rest = strings.TrimSuffix(dir, "/"), path.Join(last, rest)
	}
	switch {
	case found == nil:
		return fmt.Errorf("hard link %q: its target %q does not exist", p, target)
	case found.isDir():
		return fmt.Errorf("hard link %q: its target %q is a directory", p, target)
	case p == "":
		return fmt.Errorf("the root is not a directory")
	case p == target:
		return nil
	}
	return n.put(p, found.inode)
}

// links counts the names of every inode that is not a directory.
func (n *node) links() map[*inode]int {
	count := map[*inode]int{}
	var walk func(*node)
	walk = func(n *node) {
		for _, child := range n.children {
			if child.isDir() {
				walk(child)
			} else {
				count[child.inode]++
			}
		}
	}
	walk(n)
	return count
}

// resolveDir returns the directory that a path of ours (/lib/modules, /boot)
// means inside the image, following the image's symlinks as a chroot would and
// making what is missing.
func (n *node) resolveDir(p string) (*node, error) {
	stack := []*node{n}
	todo := strings.Split(p, "/")
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		at := stack[len(stack)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
			continue
		}
		child := at.children[part]
		switch {
		case child == nil:
			child = implicitDir()
			at.children[part] = child
		case child.inode.kind == kindSymlink:
			if hops++; hops > 40 {
				return nil, fmt.Errorf("path %q: too many symlinks", p)
			}
			if strings.HasPrefix(child.inode.target, "/") {
				stack = stack[:1]
			}
			todo = append(strings.Split(child.inode.target, "/"), todo...)
			continue
		case !child.isDir():
			return nil, fmt.Errorf("path %q: %q is not a directory", p, part)
		}
		stack = append(stack, child)
	}
	return stack[len(stack)-1], nil
}
