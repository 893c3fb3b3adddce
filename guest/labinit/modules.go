package labinit

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"sandlot/guest/initramfs/list"
)

// modules loads the modules of the initramfs, each once, dependencies first.
// It may be used from several goroutines.
type modules struct {
	known map[string]list.Module
	mu    sync.Mutex
	state map[string]*moduleState
	load  func(file string) error
}

type moduleState struct {
	once sync.Once
	err  error
}

func newModules(listing string) *modules {
	m := &modules{known: map[string]list.Module{}, state: map[string]*moduleState{}, load: finitModule}
	for _, mod := range list.Parse(listing) {
		m.known[mod.Name] = mod
	}
	return m
}

// ensure loads a module and what it needs. One that is not in the initramfs is
// taken to be built in.
func (m *modules) ensure(name string) error {
	mod, ok := m.known[name]
	if !ok {
		return nil
	}
	m.mu.Lock()
	s := m.state[name]
	if s == nil {
		s = &moduleState{}
		m.state[name] = s
	}
	m.mu.Unlock()
	s.once.Do(func() {
		for _, dep := range mod.Deps {
			if s.err = m.ensure(dep); s.err != nil {
				return
			}
		}
		if err := m.load(mod.File); err != nil {
			s.err = fmt.Errorf("cannot load module %s: %v", name, err)
		}
	})
	return s.err
}

func finitModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// virtioDrivers names the module for each virtio device type (VIRTIO 1.2, 5).
var virtioDrivers = map[string]string{
	"0x0001": "virtio_net",
	"0x0002": "virtio_blk",
	"0x0003": "virtio_console",
	"0x0004": "virtio_rng",
	"0x0013": "vmw_vsock_virtio_transport",
}

// virtioModules lists the modules the machine's virtio devices want, in the
// order of the table above, given the content of the devices' "device" files:
// loading the others would only cost time.
func virtioModules(devices []string) []string {
	present := map[string]bool{}
	for _, d := range devices {
		present[strings.TrimSpace(d)] = true
	}
	var out []string
	for _, id := range []string{"0x0002", "0x0003", "0x0001", "0x0004", "0x0013"} {
		if present[id] {
			out = append(out, virtioDrivers[id])
		}
	}
	return out
}

func virtioDevices() []string {
	const dir = "/sys/bus/virtio/devices"
	entries, _ := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		if b, err := os.ReadFile(dir + "/" + e.Name() + "/device"); err == nil {
			out = append(out, string(b))
		}
	}
	return out
}
