package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"sandlot/internal/host/image"
	"sandlot/internal/host/kernel"
	"sandlot/internal/host/volume"
)

const (
	one       = "examples/hello.yaml"
	three     = "examples/two-networks.yaml"
	version   = "6.1"
	imageName = "debian-12"
)

func (b *bench) kernel() (kernel.Kernel, error) {
	return (&kernel.Store{Dir: b.layout.Kernels()}).Get(version)
}

func (b *bench) images(dir, bases, staging string) (*image.Store, error) {
	return image.Open(image.Options{
		Dir: dir, Bases: bases, Staging: staging,
		Kernel: func(context.Context, string) (image.Kernel, error) {
			k, err := b.kernel()
			return image.Kernel{Version: k.Version, Release: k.Release, ModulesDir: k.Modules(), BootDir: k.Boot()}, err
		},
	})
}

// memory is labd's own, without plays and for each of some running ones. A
// first play comes and goes before: what it leaves (code read in, caches) is
// had once and counts as labd's.
func (b *bench) memory() ([]figure, error) {
	const plays = 4
	const mb = 1 << 20
	var ids []string
	defer func() {
		for _, id := range ids {
			_, _ = b.labd.destroy(id)
		}
	}()
	first, _, err := b.labd.play(one)
	if err != nil {
		return nil, err
	}
	if _, err := b.labd.destroy(first); err != nil {
		return nil, err
	}
	idle, err := b.labd.resident()
	if err != nil {
		return nil, err
	}
	for range plays {
		id, _, err := b.labd.play(one)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	full, err := b.labd.resident()
	if err != nil {
		return nil, err
	}
	each := float64(full-idle) / plays
	return []figure{
		{"labd with no play", fmt.Sprintf("%.0f MB", float64(idle)/mb), "80 MB", float64(idle) / (80 * mb), 1},
		{"more for each running play", fmt.Sprintf("%.1f MB", each/mb), "3 MB", each / (3 * mb), 1},
	}, nil
}

// start is one machine, ours and plain QEMU in turn.
func (b *bench) start() ([]figure, error) {
	initrd, err := b.debianInitramfs()
	if err != nil {
		return nil, err
	}
	var ours, plain []time.Duration
	for range b.runs {
		t, err := b.plainBoot(initrd)
		if err != nil {
			return nil, err
		}
		plain = append(plain, t)
		id, t, err := b.labd.play(one)
		if err != nil {
			return nil, err
		}
		ours = append(ours, t)
		if _, err := b.labd.destroy(id); err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "  plain QEMU %s, ours %s\n", seconds(plain[len(plain)-1]), seconds(t))
	}
	return []figure{versus("start of one machine, against plain QEMU", median(ours), median(plain), 0.5)}, nil
}

// three is three machines on two networks against one machine.
func (b *bench) three() ([]figure, error) {
	var all, single, gone []time.Duration
	for range b.runs {
		id, t, err := b.labd.play(one)
		if err != nil {
			return nil, err
		}
		single = append(single, t)
		if _, err := b.labd.destroy(id); err != nil {
			return nil, err
		}
		if id, t, err = b.labd.play(three); err != nil {
			return nil, err
		}
		all = append(all, t)
		if t, err = b.labd.destroy(id); err != nil {
			return nil, err
		}
		gone = append(gone, t)
		fmt.Fprintf(os.Stderr, "  one %s, three %s, destroyed in %s\n", seconds(single[len(single)-1]), seconds(all[len(all)-1]), seconds(t))
	}
	d := median(gone)
	return []figure{
		versus("start of three machines, against one", median(all), median(single), 2.2),
		{"destroy of three machines", seconds(d), "1 s", d.Seconds(), 1},
	}, nil
}

func (b *bench) clone() ([]figure, error) {
	pool, err := volume.Open(b.ctx, volume.Options{Dir: b.layout.Pool(), ImageFile: b.layout.PoolImage()})
	if err != nil {
		return nil, err
	}
	base, err := b.base()
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, gib := range []int64{2, 40} {
		var times []time.Duration
		for range 10 {
			path := filepath.Join(b.work, "clone.raw")
			begin := time.Now()
			if err := pool.Clone(b.ctx, base.Path, path, gib<<30, 1_600_000_000); err != nil {
				return nil, err
			}
			times = append(times, time.Since(begin))
			if err := pool.Delete(path); err != nil {
				return nil, err
			}
		}
		t := median(times)
		figures = append(figures, figure{
			fmt.Sprintf("clone of a volume of %d GiB", gib), fmt.Sprintf("%.1f ms", float64(t.Microseconds())/1000), "20 ms", t.Seconds() / 0.020, 1,
		})
	}
	return figures, nil
}

func (b *bench) base() (image.Base, error) {
	s, err := b.images(b.layout.Images(), b.layout.Bases(), b.layout.Staging())
	if err != nil {
		return image.Base{}, err
	}
	defer func() { _ = s.Close() }()
	return s.Base(b.ctx, imageName, version, nil)
}

// indexOf writes the store's index with one image only into the scratch folder.
func (b *bench) indexOf(name string) error {
	index, err := layout.ImageIndexFromPath(b.layout.Images())
	if err != nil {
		return err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	m.Manifests = slices.DeleteFunc(m.Manifests, func(d v1.Descriptor) bool {
		return d.Annotations["org.opencontainers.image.ref.name"] != name
	})
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.work, "index.json"), body, 0o600)
}

// image is the way from an archive to a base volume, kernel modules and check
// included, against unpacking the flattened archive and formatting it.
func (b *bench) image() ([]figure, error) {
	s, err := b.images(b.layout.Images(), b.layout.Bases(), b.layout.Staging())
	if err != nil {
		return nil, err
	}
	flat := filepath.Join(b.work, "flat.tar")
	f, err := os.Create(flat)
	if err != nil {
		return nil, err
	}
	err = s.Flatten(b.ctx, imageName, f)
	_ = f.Close()
	_ = s.Close()
	if err != nil {
		return nil, err
	}
	// The store is an OCI layout; in a tar file, with an index of one image, it
	// is an OCI archive.
	archive := filepath.Join(b.work, "archive.tar")
	if err := b.indexOf(imageName); err != nil {
		return nil, err
	}
	if _, err := b.command(nil, "tar", "-cf", archive, "-C", b.layout.Images(), "oci-layout", "blobs", "-C", b.work, "index.json"); err != nil {
		return nil, err
	}
	var ours, plain []time.Duration
	for range b.runs {
		dir := filepath.Join(b.work, "plain")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		begin := time.Now()
		if _, err := b.command(nil, "tar", "--xattrs", "--xattrs-include=*", "-C", dir, "-xpf", flat); err != nil {
			return nil, err
		}
		if _, err := b.command(nil, "mke2fs", "-q", "-F", "-t", "ext4", "-d", dir, filepath.Join(b.work, "plain.ext4"), "2G"); err != nil {
			return nil, err
		}
		plain = append(plain, time.Since(begin))

		store := filepath.Join(b.work, "store")
		begin = time.Now()
		s, err := b.images(store, filepath.Join(b.work, "bases"), filepath.Join(b.work, "staging"))
		if err != nil {
			return nil, err
		}
		if _, err = s.Pull(b.ctx, archive, "bench", nil); err == nil {
			_, err = s.Base(b.ctx, "bench", version, nil)
		}
		ours = append(ours, time.Since(begin))
		_ = s.Close()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "  tar and mke2fs %s, ours %s\n", seconds(plain[len(plain)-1]), seconds(ours[len(ours)-1]))
		for _, used := range []string{dir, filepath.Join(b.work, "plain.ext4"), store, filepath.Join(b.work, "bases"), filepath.Join(b.work, "staging")} {
			if err := os.RemoveAll(used); err != nil {
				return nil, err
			}
		}
	}
	return []figure{versus("image archive to base volume, against tar and mke2fs", median(ours), median(plain), 1.5)}, nil
}

// debianInitramfs makes what Debian itself boots this kernel with, once.
func (b *bench) debianInitramfs() (string, error) {
	k, err := b.kernel()
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.layout.Root, "debian-"+k.Release+".initrd")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	fmt.Fprintln(os.Stderr, "  making Debian's initramfs")
	_, err = b.command(nil, "mmdebstrap", "--quiet", "--variant=minbase", "--include=initramfs-tools,linux-image-"+k.Release,
		fmt.Sprintf(`--customize-hook=cp "$1"/boot/initrd.img-%s %s`, k.Release, path), "bookworm", "/dev/null")
	return path, err
}

// plainBoot is the baseline: from the command to sshd's banner.
func (b *bench) plainBoot(initrd string) (time.Duration, error) {
	base, err := b.base()
	if err != nil {
		return 0, err
	}
	k, err := b.kernel()
	if err != nil {
		return 0, err
	}
	disk := filepath.Join(b.work, "plain.raw")
	defer func() { _ = os.Remove(disk) }()
	if _, err := b.command(nil, "cp", "--reflink=always", base.Path, disk); err != nil {
		return 0, err
	}
	if err := os.Truncate(disk, 5<<30); err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	addr := l.Addr().String()
	_ = l.Close()
	// The image has no network manager, so a shell sets the address before
	// its init starts: the least that lets sshd be asked.
	network := "ip link set lo up; ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; exec /sbin/init"
	begin := time.Now()
	vm := exec.CommandContext(b.ctx, "qemu-system-x86_64", "-M", "q35", "-accel", b.accel, "-m", "512", "-smp", "1",
		"-kernel", k.BzImage(), "-initrd", initrd,
		"-append", `root=/dev/vda rw quiet console=ttyS0 net.ifnames=0 init=/bin/sh -- -c "`+network+`"`,
		"-drive", "file="+disk+",format=raw,if=virtio", "-nic", "user,model=virtio-net-pci,hostfwd=tcp:"+addr+"-:22",
		"-display", "none", "-serial", "null", "-monitor", "none")
	if err := vm.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = vm.Process.Kill()
		_ = vm.Wait()
	}()
	for b.ctx.Err() == nil && time.Since(begin) < 5*time.Minute {
		if banner(addr) {
			return time.Since(begin), nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return 0, fmt.Errorf("no sshd within %s", time.Since(begin))
}

// banner tells whether an sshd greets at the address.
func banner(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	var head [4]byte
	_, err = io.ReadFull(conn, head[:])
	return err == nil && string(head[:]) == "SSH-"
}
