package image

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sandlot/internal/labtest"
)

func TestDistribution(t *testing.T) {
	for in, want := range map[string]string{
		"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n": "Debian GNU/Linux 12 (bookworm)",
		"NAME=Alpine\nVERSION_ID=3.20\n":                                              "Alpine 3.20",
		"# PRETTY_NAME=no\nNAME='x'\n":                                                "x",
		"PRETTY_NAME=\"a\x1b[31mb\u0007\"\n":                                          "a[31mb",
		"PRETTY_NAME=" + strings.Repeat("x", 500):                                     strings.Repeat("x", 100),
		"": "",
	} {
		if got := distribution(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestUsersWithShell(t *testing.T) {
	passwd := `daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
laborant:x:1001:1001::/home/laborant:/bin/bash
root:x:0:0:root:/root:/bin/bash
toor:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
service:x:2000:2000::/:/bin/false
bad name:x:2001:2001::/:/bin/sh
short:x:2002
word:x:many:1::/:/bin/sh
laborant:x:1002:1002::/home/laborant:/bin/bash
node:x:1000:1000::/home/node:
`
	if diff := cmp.Diff([]string{"root", "laborant", "node"}, usersWithShell(passwd)); diff != "" {
		t.Error(diff)
	}
	if got := usersWithShell(strings.Repeat("u:x:1000:1::/:/bin/sh\n", 3) + strings.Repeat("x\n", 1000)); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

func TestFirstBytes(t *testing.T) {
	ended := 0
	f := &firstBytes{left: 5, full: func() { ended++ }}
	if n, err := f.Write([]byte("abc")); n != 3 || err != nil || ended != 0 {
		t.Errorf("%d %v %d", n, err, ended)
	}
	if n, err := f.Write([]byte("defg")); n != 2 || err == nil || ended != 1 || f.text.String() != "abcde" {
		t.Errorf("%d %v %d %q", n, err, ended, f.text.String())
	}
}

func TestDescribe(t *testing.T) {
	labtest.Require(t, labtest.Root)
	s := openStore(t, kernelOptions(t))
	source := imageOf(t, gzipLayer(t,
		dir("etc"), file("etc/passwd", "laborant:x:1001:1001::/home/laborant:/bin/bash\nroot:x:0:0:root:/root:/bin/sh\n"),
		dir("usr"), dir("usr/lib"), file("usr/lib/os-release", "PRETTY_NAME=\"Test 1\"\n"), symlink("etc/os-release", "../usr/lib/os-release"),
	)).layout(t)
	img, err := s.Pull(t.Context(), source, "test-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := s.Describe(t.Context(), img); err != nil || !cmp.Equal(d, Description{}) {
		t.Errorf("before a base volume: %+v, %v", d, err)
	}
	base := makeBase(t, s, img.Name, "6.1")
	want := Description{Distribution: "Test 1", Users: []string{"root", "laborant"}, Releases: []string{testRelease}, FSBytes: base.FSBytes}
	for range 2 {
		d, err := s.Describe(t.Context(), img)
		if diff := cmp.Diff(want, d); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
	}
}
