package kernel

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sandlot/internal/labtest"
)

func TestCompareVersions(t *testing.T) {
	// Each is older than the next.
	ordered := []string{
		"1.0~~", "1.0~rc1", "1.0", "1.0-0", "1.0-1~bpo12+1", "1.0-1", "1.0-1+deb12u1", "1.0a", "1.0+x", "1.0.1",
		"5.10", "5.10.223-1", "5.10.262-1", "6.1", "6.1.99-1", "6.1.176-1", "6.1.192-2", "6.12.117-1", "6.18.5-1~bpo13+1", "6.18.15-1~bpo13+1",
		"1:0.1",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			switch {
			// dpkg holds an absent revision and "-0" to be the same.
			case a == "1.0" && b == "1.0-0" || a == "1.0-0" && b == "1.0":
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			if got := compareVersions(a, b); got != want {
				t.Errorf("compareVersions(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
	for _, same := range [][2]string{{"1.01", "1.1"}, {"0:2", "2"}, {"", ""}} {
		if got := compareVersions(same[0], same[1]); got != 0 {
			t.Errorf("compareVersions(%q, %q) = %d", same[0], same[1], got)
		}
	}
}

func TestNewest(t *testing.T) {
	list := parsePackages(`Package: linux-image-6.1.0-9-cloud-amd64
Version: 6.1.27-1
Depends: kmod

Package: linux-image-6.1.0-56-cloud-amd64
Version: 6.1.192-2
Description: x
 Version: 99 is not a field

Package: linux-image-6.1.0-56-cloud-amd64
Version: 6.1.180-1

Package: linux-image-6.1-cloud-amd64
Version: 9.9

Package: linux-image-6.12.1+deb13-cloud-amd64
Version: 6.12.1-1

Package: linux-image-6.1.0-57-cloud-amd64-unsigned
Version: 6.1.200-1

Package: linux-image-6.1.0-57-cloud-arm64
Version: 6.1.200-1

Package: broken
`)
	image, release, ok := newest("6.1", list)
	if !ok || image.Name != "linux-image-6.1.0-56-cloud-amd64" || image.Version != "6.1.192-2" || release != "6.1.0-56-cloud-amd64" {
		t.Errorf("%v, %q, %v", image, release, ok)
	}
	if image, _, ok := newest("5.10", list); ok {
		t.Errorf("found %v", image)
	}
	if image, release, ok := newest("6.12", list); !ok || release != "6.12.1+deb13-cloud-amd64" {
		t.Errorf("%v, %q", image, release)
	}
}

func TestDependencies(t *testing.T) {
	p := pkg{Depends: "dracut | initramfs-tools (>= 0.120+deb8u2), kmod, linux-base (>= 4.3~), " +
		"linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), linux-modules-7.3.4+deb13-cloud-amd64 (= 7.3.4-1)"}
	want := []pkg{
		{Name: "linux-binary-7.3.4+deb13-cloud-amd64", Version: "7.3.4-1"},
		{Name: "linux-modules-7.3.4+deb13-cloud-amd64", Version: "7.3.4-1"},
	}
	if diff := cmp.Diff(want, dependencies(p)); diff != "" {
		t.Error(diff)
	}
}

func TestHostMirror(t *testing.T) {
	for name, tc := range map[string]struct {
		sources string
		want    Mirror
	}{
		"nothing": {"", defaultMirror},
		"one-line": {
			"# deb http://old.example/debian bookworm main\n" +
				"deb [arch=amd64 signed-by=/x.gpg] http://mirror.example:3142/debian/ bookworm main\n" +
				"deb https://mirror.example/debian-security bookworm-security main\n",
			Mirror{"http://mirror.example:3142/debian", "https://mirror.example/debian-security"},
		},
		"deb822": {
			"Types: deb\nURIs: http://a.example/debian http://b.example/debian\nSuites: trixie\n",
			Mirror{"http://a.example/debian", defaultMirror.Security},
		},
		"Ubuntu": {"deb http://archive.ubuntu.com/ubuntu noble main\n", defaultMirror},
		"others": {
			"deb https://deb.nodesource.com/node_20.x nodistro main\ndeb cdrom:[Debian]/debian bookworm main\ndeb file:/srv/debian bookworm main\n",
			defaultMirror,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, hostMirror(tc.sources)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAptFiles(t *testing.T) {
	var b strings.Builder
	for _, src := range known {
		b.WriteString(sourcesList(src, defaultMirror, DebianKeyring, false))
	}
	labtest.Golden(t, "sources.list", b.String())
	host := `APT::Update::Post-Invoke-Success:: "refresh the desktop's catalogue";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::Languages "en";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "true";
Acquire::AllowInsecureRepositories "1";
Acquire::Check-Valid-Until "false";
Dir::State "var/lib/apt";
`
	labtest.Golden(t, "apt.conf", aptConf("/store/.apt/6.1", host))
}

func TestFirstComplaint(t *testing.T) {
	for out, want := range map[string]string{
		"": "",
		"Hit:1 http://x\nReading package lists...":                                             "",
		"W: Failed to fetch http://x/InRelease  Could not connect\nE: Some index files failed": "http://x/InRelease Could not connect",
		"W: something\nE: The repository has no Release file.":                                 "The repository has no Release file.",
	} {
		if got := firstComplaint(out); got != want {
			t.Errorf("%q: %q, want %q", out, got, want)
		}
	}
}
