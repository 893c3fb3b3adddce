package netns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

const forwardingPath = "/proc/sys/net/ipv4/ip_forward"

// record is what EnsureHost changed on the host. One file serves all instances
// on a host, since one switch does: the last to leave puts it back.
type record struct {
	// BootID: after a reboot the switch is what the host's own configuration
	// says, and an older record means nothing.
	BootID string `json:"bootID"`
	// IPForward is what net.ipv4.ip_forward was.
	IPForward string `json:"ipForward"`
	// Tables are the instances that need forwarding.
	Tables []string `json:"tables"`
}

// EnsureHost loads the host's rules and turns forwarding on, remembering what
// it was. Call it again whenever something may have emptied the host's rules
// (`nft flush ruleset`, a reload of nftables.service): without them plays
// reach the host.
func (m *Manager) EnsureHost(ctx context.Context) error {
	if m.NSPrefix == "" || m.UplinkPrefix == "" || m.Table == "" {
		return errors.New("netns.Manager needs Table, UplinkPrefix and NSPrefix")
	}
	// Rules first: while nothing is forwarded nothing can slip through.
	err := m.onHost(func() error { return apply(HostRules(m.Table, m.UplinkPrefix)) })
	if err != nil {
		return fmt.Errorf("cannot prepare host's network: %w", err)
	}
	err = m.withRecord(ctx, func(r *record) error {
		if !slices.Contains(r.Tables, m.Table) {
			r.Tables = append(r.Tables, m.Table)
		}
		return nil
	}, func() error {
		return m.onHost(func() error { return setSysctls([]sysctl{{"net/ipv4/ip_forward", "1"}}) })
	})
	if err != nil {
		return fmt.Errorf("cannot turn on forwarding: %w", err)
	}
	return nil
}

// RemoveHost undoes EnsureHost. Forwarding becomes what it was once no other
// instance on the host needs it.
func (m *Manager) RemoveHost(ctx context.Context) error {
	restore := ""
	var others []string
	err := m.onHost(func() (err error) {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if t.Name == m.Table {
				conn.DelTable(t)
			} else {
				others = append(others, t.Name)
			}
		}
		err = conn.Flush()
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot remove host's rules %q: %w", m.Table, err)
	}
	if _, err := os.Stat(m.record()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err = m.withRecord(ctx, func(r *record) error {
		r.Tables = slices.DeleteFunc(r.Tables, func(t string) bool {
			return t == m.Table || !slices.Contains(others, t)
		})
		if len(r.Tables) == 0 {
			restore = r.IPForward
		}
		return nil
	}, func() error {
		if restore == "" {
			return nil
		}
		return m.onHost(func() error { return setSysctls([]sysctl{{"net/ipv4/ip_forward", restore}}) })
	})
	if err != nil {
		return fmt.Errorf("cannot restore forwarding: %w", err)
	}
	return nil
}

func (m *Manager) record() string {
	if m.Record == "" {
		return DefaultRecord
	}
	return m.Record
}

// withRecord changes the record under its lock and writes it before effect.
// Without any table left the file goes, after effect.
func (m *Manager) withRecord(ctx context.Context, change func(*record) error, effect func() error) error {
	path := m.record()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := lockFile(ctx, path)
	if err != nil {
		return err
	}
	defer file.Close()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	bootID := strings.TrimSpace(string(boot))
	var r record
	// A damaged record is as good as none.
	if err := json.NewDecoder(io.LimitReader(file, 1<<20)).Decode(&r); err != nil || r.BootID != bootID || (r.IPForward != "0" && r.IPForward != "1") {
		r = record{BootID: bootID}
		err := m.onHost(func() error {
			now, err := os.ReadFile(forwardingPath)
			r.IPForward = string(bytes.TrimSpace(now))
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := change(&r); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// The decoder stops after the first value: what an interrupted write
	// leaves behind it does no harm.
	data = append(data, '\n')
	if len(r.Tables) > 0 {
		if _, err := file.WriteAt(data, 0); err != nil {
			return err
		}
		if err := file.Truncate(int64(len(data))); err != nil {
			return err
		}
	}
	if err := effect(); err != nil {
		return err
	}
	if len(r.Tables) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// Only if it was ours alone.
		_ = os.Remove(filepath.Dir(path))
	}
	return nil
}

// lockFile opens the file and holds its lock until it is closed.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		// Held for the milliseconds of one change.
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
			file.Close()
			return nil, fmt.Errorf("lock %q: %w", path, err)
		}
		// Whoever held it before may have removed it.
		ours, err1 := file.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(ours, now) {
			return file, nil
		}
		file.Close()
	}
}

// tableNames lists the inet tables where the calling thread is.
func tableNames() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	var names []string
	for _, t := range tables {
		names = append(names, t.Name)
	}
	return names, err
}
