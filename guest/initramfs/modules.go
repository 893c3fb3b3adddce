package initramfs

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Wanted are the modules a machine may need before its root filesystem is
// mounted, besides their dependencies. labinit loads those whose devices are
// there. One that is built in, or that this kernel does not have, is left out.
var Wanted = []string{
	"virtio_ring", "virtio", "virtio_pci", "virtio_mmio",
	"virtio_blk", "virtio_console", "virtio_net", "virtio_rng",
	"vmw_vsock_virtio_transport",
	"crc32c_generic", "ext4",
}

// required must exist, as a module or built in: no machine boots without.
var required = []string{"virtio_pci", "virtio_blk", "ext4"}

// maxModule bounds one decompressed module; the largest of a distribution's
// kernels (amdgpu) is under 30 MiB.
const maxModule = 64 << 20

type module struct {
	name string // with underscores, as the kernel shows it
	deps []string
	data []byte
}

// resolveModules returns the wanted modules and all they need, dependencies
// first, decompressed: the guest would do it far slower under emulation.
func resolveModules(dir string, wanted []string) ([]module, error) {
	if dir == "" {
		return nil, nil
	}
	index, err := readDep(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := readBuiltin(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	for _, name := range required {
		if _, ok := index[name]; !ok && builtin != nil && !builtin[name] {
			return nil, fmt.Errorf("kernel modules in %q have no %s, neither as a module nor built in", dir, name)
		}
	}
	var out []module
	done := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		entry, ok := index[name]
		if !ok || done[name] {
			return nil
		}
		done[name] = true // before the dependencies: a cycle must end
		deps := make([]string, 0, len(entry.deps))
		// modules.dep lists the nearest dependency first; the farthest must
		// be loaded first.
		for i := len(entry.deps) - 1; i >= 0; i-- {
			dep := moduleName(entry.deps[i])
			deps = append(deps, dep)
			if err := add(dep); err != nil {
				return err
			}
		}
		data, err := readModule(dir, entry.file)
		if err != nil {
			return err
		}
		out = append(out, module{name: name, deps: deps, data: data})
		return nil
	}
	for _, name := range wanted {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type depEntry struct {
	file string
	deps []string
}

func readDep(file string) (map[string]depEntry, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read module index %q (run depmod): %v", file, err)
	}
	index := map[string]depEntry{}
	lines := bufio.NewScanner(strings.NewReader(string(body)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		file, deps, ok := strings.Cut(lines.Text(), ":")
		if ok {
			index[moduleName(file)] = depEntry{file: file, deps: strings.Fields(deps)}
		}
	}
	return index, lines.Err()
}

// readBuiltin returns nil if the kernel came without the list.
func readBuiltin(file string) (map[string]bool, error) {
	body, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read list of built-in modules %q: %v", file, err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(body)) {
		names[moduleName(strings.TrimSpace(line))] = true
	}
	return names, nil
}

func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

func readModule(dir, file string) ([]byte, error) {
	if !filepath.IsLocal(file) {
		return nil, fmt.Errorf("module index names %q, which is outside its directory", file)
	}
	f, err := os.Open(filepath.Join(dir, file))
	if err != nil {
		return nil, fmt.Errorf("cannot open module: %v", err)
	}
	defer f.Close()
	var r io.Reader = f
	switch path.Ext(file) {
	case ".xz":
		r, err = xz.NewReader(bufio.NewReader(f))
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(f, zstd.WithDecoderMaxMemory(maxModule), zstd.WithDecoderConcurrency(1)); err == nil {
			defer z.Close()
			r = z
		}
	case ".gz":
		r, err = gzip.NewReader(f)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot decompress module %q: %v", file, err)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err != nil {
		return nil, fmt.Errorf("cannot decompress module %q: %v", file, err)
	}
	if len(data) > maxModule {
		return nil, fmt.Errorf("module %q is over %d bytes", file, maxModule)
	}
	return data, nil
}
