package volume

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestChooseSize(t *testing.T) {
	const gib = int64(1) << 30
	for _, tc := range []struct {
		asked, free, want int64
		err               string
	}{
		{0, 79 * gib, 39*gib + gib/2, ""},
		{0, 1000 * gib, 64 * gib, ""},
		{0, 6 * gib, 4 * gib, ""},
		{0, 3 * gib, 0, "a pool of 4 GiB does not fit the 3 GiB free"},
		{512<<20 + 77, 10 * gib, 512 << 20, ""},
		{100 << 20, 10 * gib, 0, "too small"},
		{10 * gib, 10 * gib, 0, "does not fit"},
		{-1, 10 * gib, 0, "too small"},
	} {
		got, err := chooseSize(tc.asked, tc.free)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("chooseSize(%d, %d) = %d, %v; want %d, %q", tc.asked, tc.free, got, err, tc.want, tc.err)
		}
	}
}

func TestAdmission(t *testing.T) {
	const gib = int64(1) << 30
	for _, tc := range []struct {
		total, free, need int64
		ok                bool
	}{
		{64 * gib, 64 * gib, Need(24), true},
		{64 * gib, 4 * gib, Need(3), true},
		{64 * gib, 64 * gib / 20, 1, false}, // only the reserve is left
		{4 * gib, 600 << 20, 88 << 20, true},
		{4 * gib, 600 << 20, 89 << 20, false},
		{gib / 2, 400 << 20, Need(1), true}, // a quarter of a small pool is kept
		{gib / 2, 200 << 20, Need(1), false},
	} {
		u := Usage{Total: tc.total, Free: tc.free, Reserve: reserve(tc.total)}
		err := u.check("/pool", tc.need)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrNoRoom) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
	err := Usage{Total: gib, Free: 200 << 20, Reserve: 100 << 20}.check("/pool", Need(1))
	const want = `pool "/pool" has no room: 128 MiB needed, 200 MiB free of 1 GiB and 100 MiB of that kept for running machines; ` +
		`destroy plays (labctl playground destroy), remove images (labd image prune) or enlarge the pool`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestInside(t *testing.T) {
	root := t.TempDir()
	pool := filepath.Join(root, "pool")
	if err := os.MkdirAll(filepath.Join(pool, "volumes"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(pool, "out")); err != nil {
		t.Fatal(err)
	}
	p := &Pool{dir: pool}
	for path, ok := range map[string]bool{
		pool + "/a.raw":              true,
		pool + "/volumes/new/a.raw":  true,
		pool + "/volumes":            true,
		pool:                         false,
		pool + "/.":                  false,
		root + "/a.raw":              false,
		pool + "/../a.raw":           false,
		pool + "/volumes/../../a":    false,
		pool + "/out/a.raw":          false,
		pool + "/out/missing/a.raw":  false,
		"/etc/passwd":                false,
		"relative.raw":               false,
		root + "/pool-2/looks-alike": false,
	} {
		if err := p.inside(path); (err == nil) != ok {
			t.Errorf("inside(%q) = %v, want ok=%v", path, err, ok)
		}
	}
}

func TestKernelDev(t *testing.T) {
	// makedev(259, 0x12345): minor bits above eight go over the major.
	const dev = 0x45 | 259<<8 | 0x123<<20
	if got := kernelDev(dev); got != 0x45|259<<8|0x12300<<12 {
		t.Errorf("got %#x", got)
	}
	if got := kernelDev(254 << 8); got != 0xfe00 {
		t.Errorf("got %#x", got)
	}
}

func TestMakers(t *testing.T) {
	for version, want := range map[string]string{
		"5.6.0":  "mkfs.xfs -q -f -K",
		"5.13.0": "mkfs.xfs -q -f -K -m bigtime=0,inobtcount=0",
		"6.1.0":  "mkfs.xfs -q -f -K -m bigtime=0,inobtcount=0 -i nrext64=0",
		"6.13.0": "mkfs.xfs -q -f -K -m bigtime=0,inobtcount=0 -n parent=0 -i nrext64=0,exchange=0",
		"":       "mkfs.xfs -q -f -K",
	} {
		if got := strings.Join(makers(version)["xfs"].argv, " "); got != want {
			t.Errorf("xfsprogs %q: %s", version, got)
		}
	}
	if got := strings.Join(makers("")["ext3"].argv, " "); got != "mke2fs -q -F -t ext3 -E lazy_itable_init=1,lazy_journal_init=1" {
		t.Error(got)
	}
	if got := strings.Join(poolMkfs("/x.new"), " "); got != "mkfs.xfs -q -K -m reflink=1 -s size=4096 -L sandlot /x.new" {
		t.Error(got)
	}
}

func TestHuman(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1536: "1.5 KiB", 128 << 20: "128 MiB", 40 << 30: "40 GiB", 5 << 50: "5120 TiB"} {
		if got := human(n); got != want {
			t.Errorf("human(%d) = %q, want %q", n, got, want)
		}
	}
}
