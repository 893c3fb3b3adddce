package labinit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"sandlot/guest/accounts"
	"sandlot/guest/wire"
)

// image makes a root filesystem with these files (a name ending in "/" is a
// directory, a body starting with "→" a symlink). Users have the test's own
// ids, so that the test needs no root.
func image(t *testing.T, files map[string]string) tree {
	t.Helper()
	base := filepath.Join(t.TempDir(), "root")
	os.Mkdir(base, 0o755)
	for name, body := range files {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(body, "→"); ok {
			err = os.Symlink(target, path)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte(body), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree{base}
}

func content(t *testing.T, tr tree, name string) string {
	t.Helper()
	b, err := tr.read(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBlock(t *testing.T) {
	block := func(lines string) string { return blockBegin + "\n" + lines + blockEnd + "\n" }
	for name, c := range map[string]struct {
		old   string
		lines []string
		first bool
		want  string
	}{
		"empty file":            {"", []string{"a"}, false, block("a\n")},
		"at the end":            {"x", []string{"a", "b"}, false, "x\n" + block("a\nb\n")},
		"at the start":          {"x\n", []string{"a"}, true, block("a\n") + "x\n"},
		"in its place":          {"x\n" + block("old\n") + "y\n", []string{"a"}, false, "x\n" + block("a\n") + "y\n"},
		"gone":                  {"x\n" + block("old\n") + "y\n", nil, false, "x\ny\n"},
		"nothing to do":         {"x\n", nil, false, "x\n"},
		"end mark deleted":      {blockBegin + "\nmine\n", []string{"a"}, false, block("a\n") + "mine\n"},
		"mark inside a line":    {"say " + blockBegin + "\n", []string{"a"}, false, "say " + blockBegin + "\n" + block("a\n")},
		"appended after reboot": {block("a\n") + "theirs\n", []string{"a"}, true, block("a\n") + "theirs\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := withBlock(c.old, c.lines, c.first); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func hostKey(t *testing.T) (private, public string) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
}

func TestPublicHalf(t *testing.T) {
	private, public := hostKey(t)
	if got, err := publicHalf(private); err != nil || got != public {
		t.Errorf("got %q, %v, want %q", got, err, public)
	}
	for _, bad := range []string{"", "text", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", private[:120]} {
		if got, err := publicHalf(bad); err == nil {
			t.Errorf("%q gave %q", bad, got)
		}
	}
	cut := pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("openssh-key-v1\x00\xff\xff\xff\xff")})
	if _, err := publicHalf(string(cut)); err == nil {
		t.Error("a key that lies about its length was taken")
	}
}

func debian(t *testing.T) map[string]string {
	return map[string]string{
		"etc/passwd":                        "root:x:0:0:root:/root:/bin/bash\n" + "laborant:x:" + itoa(os.Getuid()) + ":" + itoa(os.Getgid()) + "::/home/laborant:/bin/bash\n",
		"etc/group":                         "root:x:0:\nstaff:x:50:laborant\n",
		"etc/hosts":                         "127.0.0.1 localhost\n",
		"etc/resolv.conf":                   "nameserver 1.1.1.1\n",
		"etc/ssl/certs/ca-certificates.crt": "THEIRS\n",
		"home/laborant/":                    "",
		"root/":                             "",
	}
}

func itoa(n int) string {
	var b []byte
	for {
		b = append(b, byte('0'+n%10))
		if n /= 10; n == 0 {
			slices.Reverse(b)
			return string(b)
		}
	}
}

func TestIdentityTwice(t *testing.T) {
	private, public := hostKey(t)
	root := image(t, debian(t))
	config := wire.Config{
		Hostname: "m1", MachineID: "0123456789abcdef0123456789abcdef", Nameserver: "10.0.0.1",
		Root:       wire.Mount{Device: "/dev/vda", Path: "/"},
		Mounts:     []wire.Mount{{Device: "/dev/vdb", Path: "/my data", Filesystem: "xfs"}, {Device: "/dev/vdc", Path: "/ro", ReadOnly: true}},
		Interfaces: []wire.Interface{{Name: "eth0", MAC: "02:00:00:00:00:01", Address: "10.0.0.2/24", Gateway: "10.0.0.1"}},
		Hosts:      []wire.Host{{Address: "10.0.0.2", Names: []string{"m1", "m1.local"}}},
		Users: []wire.User{
			{Name: "laborant", Welcome: "Hi\n", AuthorizedKeys: []string{public}},
			{Name: "root", Welcome: "-", AuthorizedKeys: []string{public}},
		},
		SSHHostKey: private, SSHUserKey: private, KnownHosts: []string{"m1 " + public},
		CACertificates: []string{"CERT\n"},
		StartupFiles: []wire.StartupFile{
			{Path: "/etc/hosts", Content: "10.0.0.9 extra\n", Append: true},
			{Path: "/home/laborant/new/file", Content: "x", Owner: "laborant", Mode: "0640"},
			{Path: "/etc/motd", Content: "first\n"},
		},
	}
	snapshot := func() map[string]string {
		out := map[string]string{}
		filepath.Walk(root.base, func(p string, info os.FileInfo, err error) error {
			if err != nil {
				t.Fatal(err)
			}
			body := ""
			if info.Mode().IsRegular() {
				b, _ := os.ReadFile(p)
				body = string(b)
			}
			out[strings.TrimPrefix(p, root.base)] = info.Mode().String() + " " + body
			return nil
		})
		return out
	}
	if err := writeIdentity(root, config); err != nil {
		t.Fatal(err)
	}
	first := snapshot()
	if err := writeIdentity(root, config); err != nil {
		t.Fatal(err)
	}
	for name, is := range snapshot() {
		if is != first[name] {
			t.Errorf("the second boot changed %s from %q to %q", name, first[name], is)
		}
	}
	for name, want := range map[string]string{
		"/etc/hostname":                                "m1\n",
		"/etc/machine-id":                              "0123456789abcdef0123456789abcdef\n",
		"/etc/hosts":                                   blockBegin + "\n10.0.0.2 m1 m1.local\n" + blockEnd + "\n127.0.0.1 localhost\n10.0.0.9 extra\n",
		"/etc/resolv.conf":                             resolverMark + "\nnameserver 10.0.0.1\n",
		"/etc/fstab":                                   blockBegin + "\n/dev/vdb /my\\040data xfs defaults,nofail 0 0\n/dev/vdc /ro auto ro,nofail 0 0\n" + blockEnd + "\n",
		"/etc/ssh/ssh_host_ed25519_key":                private,
		"/etc/ssh/ssh_host_ed25519_key.pub":            public + " m1\n",
		"/etc/ssh/ssh_known_hosts":                     blockBegin + "\nm1 " + public + "\n" + blockEnd + "\n",
		"/home/laborant/.ssh/authorized_keys":          blockBegin + "\n" + public + "\n" + blockEnd + "\n",
		"/root/.ssh/id_ed25519":                        private,
		"/home/laborant/.hushlogin":                    "",
		"/etc/sandlot/welcome/laborant":                "Hi\n",
		"/etc/profile.d/sandlot-welcome.sh":            welcomeScript,
		"/home/laborant/new/file":                      "x",
		"/usr/local/share/ca-certificates/sandlot.crt": "CERT\n",
		"/etc/ssl/certs/ca-certificates.crt":           "THEIRS\nCERT\n",
		"/run/systemd/network/00-sandlot-eth0.network": "[Match]\nMACAddress=02:00:00:00:00:01\n\n[Network]\nAddress=10.0.0.2/24\nGateway=10.0.0.1\nDNS=10.0.0.1\nLinkLocalAddressing=ipv6\nIPv6AcceptRA=no\n",
		"/run/NetworkManager/conf.d/99-sandlot.conf":   "[keyfile]\nunmanaged-devices=mac:02:00:00:00:00:01\n",
	} {
		if got := content(t, root, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]os.FileMode{
		"/etc/ssh/ssh_host_ed25519_key": 0o600, "/root/.ssh/id_ed25519": 0o600, "/home/laborant/.ssh": 0o700 | os.ModeDir,
		"/home/laborant/new/file": 0o640, "/etc/machine-id": 0o444, "/etc/motd": 0o644, "/my data": 0o755 | os.ModeDir,
	} {
		if info, err := os.Lstat(root.base + name); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
	if root.exists("/etc/sandlot/welcome/root") {
		t.Error(`welcome "-" made a banner`)
	}

	// What a person changes in a running machine stands after a reboot.
	for name, body := range map[string]string{"/etc/resolv.conf": "nameserver 9.9.9.9\n", "/etc/motd": "mine\n"} {
		if err := root.write(name, []byte(body), rootFile); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeIdentity(root, config); err != nil {
		t.Fatal(err)
	}
	if got := content(t, root, "/etc/resolv.conf") + content(t, root, "/etc/motd"); got != "nameserver 9.9.9.9\nmine\n" {
		t.Errorf("a reboot undid a person's change: %q", got)
	}
}

func TestIdentityOfBareImage(t *testing.T) {
	root := image(t, nil)
	err := writeIdentity(root, wire.Config{Hostname: "m1", Nameserver: "10.0.0.1", Users: []wire.User{{Name: "nobody-here", AuthorizedKeys: []string{"k"}}}})
	if err == nil || !strings.Contains(err.Error(), `the image has no user "nobody-here", it has root; correct the machine's users or add it to the image`) {
		t.Errorf("error is %v", err)
	}
	want := blockBegin + "\n127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 m1\n" + blockEnd + "\n"
	if got := content(t, root, "/etc/hosts"); got != want {
		t.Errorf("/etc/hosts is %q, want %q", got, want)
	}
}

// An image is somebody else's: whatever its links say, nothing outside of it
// is written, and absolute links mean the image's own root.
func TestLinksStayInside(t *testing.T) {
	outside := t.TempDir()
	up := strings.Repeat("../", 30)
	files := debian(t)
	delete(files, "etc/resolv.conf")
	delete(files, "etc/hosts")
	delete(files, "home/laborant/")
	files["etc/resolv.conf"] = "→/run/systemd/resolve/stub-resolv.conf"
	files["etc/hosts"] = "→" + up + outside + "/hosts"
	files["etc/ssh"] = "→" + outside
	files["home/laborant"] = "→" + up + outside
	files["etc/hostname"] = "→" + outside + "/hostname"
	files["etc/a"] = "→/etc/b"
	files["etc/b"] = "→/etc/a"
	root := image(t, files)
	private, public := hostKey(t)
	err := writeIdentity(root, wire.Config{
		Hostname: "m1", Nameserver: "10.0.0.1", SSHHostKey: private,
		Users: []wire.User{{Name: "laborant", AuthorizedKeys: []string{public}}},
		StartupFiles: []wire.StartupFile{
			{Path: "/etc/ssh/x", Content: "x"},
			{Path: "/../../../../" + outside + "/y", Content: "y"},
			{Path: "/etc/a", Content: "loop"},
			{Path: "relative", Content: "z"},
		},
	})
	for _, want := range []string{"/etc/a: ", "too many symlinks", "relative: the path is not absolute"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Fatalf("the image led a write to the host: %v", left)
	}
	for _, name := range []string{"run/systemd/resolve/stub-resolv.conf", outside + "/hosts", outside + "/x", outside + "/y", outside + "/hostname", outside + "/.ssh/authorized_keys"} {
		if info, err := os.Lstat(filepath.Join(root.base, name)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s was not written inside the image: %v", name, err)
		}
	}
}

// A fifo or a device in the place of a file must not block or be written to.
func TestSpecialFilesAreNotOpened(t *testing.T) {
	root := image(t, debian(t))
	for _, name := range []string{"/etc/hostname", "/etc/fstab"} {
		os.Remove(root.base + name)
		if err := syscall.Mkfifo(root.base+name, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := writeIdentity(root, wire.Config{Hostname: "m1", Mounts: []wire.Mount{{Device: "/dev/vdb", Path: "/data"}}})
	if err == nil || !strings.Contains(err.Error(), "/etc/fstab is not a regular file") {
		t.Errorf("error is %v", err)
	}
	if got := content(t, root, "/etc/hostname"); got != "m1\n" {
		t.Errorf("a fifo in the place of /etc/hostname was not replaced: %q", got)
	}
}

func TestStartupFiles(t *testing.T) {
	apply := func(t *testing.T, root tree, files ...wire.StartupFile) error {
		id := &identity{tree: root, config: wire.Config{StartupFiles: files}}
		id.accounts = accounts.ParsePasswd(content(t, root, "/etc/passwd"))
		id.groups = accounts.ParseGroup(content(t, root, "/etc/group"))
		return errors.Join(id.wholeFiles(), id.appendedFiles())
	}
	t.Run("appends keep owner and mode", func(t *testing.T) {
		root := image(t, debian(t))
		os.WriteFile(root.base+"/etc/x", []byte("a"), 0o600)
		f := wire.StartupFile{Path: "/etc/x", Content: "b", Append: true, Mode: "0777"}
		// The same entry twice in one manifest means twice in the file.
		for range 2 {
			if err := apply(t, root, f, f); err != nil {
				t.Fatal(err)
			}
		}
		info, _ := os.Stat(root.base + "/etc/x")
		if got := content(t, root, "/etc/x"); got != "abb" || info.Mode() != 0o600 {
			t.Errorf("file is %q with mode %v", got, info.Mode())
		}
	})
	t.Run("append makes a new file", func(t *testing.T) {
		root := image(t, debian(t))
		if err := apply(t, root, wire.StartupFile{Path: "/new/x", Content: "b", Append: true, Mode: "4755"}); err != nil {
			t.Fatal(err)
		}
		info, _ := os.Stat(root.base + "/new/x")
		if info.Mode() != 0o755|os.ModeSetuid {
			t.Errorf("mode is %v", info.Mode())
		}
	})
	t.Run("one failure does not stop the others", func(t *testing.T) {
		root := image(t, debian(t))
		err := apply(t, root,
			wire.StartupFile{Path: "/x", Owner: "ghost"},
			wire.StartupFile{Path: "/y", Mode: "9"},
			wire.StartupFile{Path: "/etc", Content: "dir"},
			wire.StartupFile{Path: "/z", Content: "z"})
		for _, want := range []string{`/x: no user "ghost"`, `/y: mode "9" is not octal`, "/etc: "} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error is %v, want one with %q", err, want)
			}
		}
		if content(t, root, "/z") != "z" {
			t.Error("/z was not written")
		}
	})
}

// What the author writes as a whole and what the platform needs both stand,
// from the first boot on and over every other.
func TestStartupFilesBesideOurs(t *testing.T) {
	files := debian(t)
	uid := itoa(os.Getuid())
	root := image(t, files)
	config := wire.Config{
		Hostname: "m1", Nameserver: "10.0.0.1",
		Hosts:  []wire.Host{{Address: "10.0.0.2", Names: []string{"m1"}}},
		Mounts: []wire.Mount{{Device: "/dev/vdb", Path: "/data/in"}, {Device: "/dev/vdc", Path: "/data"}},
		Users:  []wire.User{{Name: "late", AuthorizedKeys: []string{"KEY"}}},
		StartupFiles: []wire.StartupFile{
			{Path: "/etc/hosts", Content: "lost\n", Append: true},
			{Path: "/etc/hosts", Content: "10.0.0.7 whole\n"},
			{Path: "/etc/hosts", Content: "10.0.0.8 added\n", Append: true},
			{Path: "/etc/fstab", Content: "theirs\n"},
			{Path: "/etc/passwd", Content: "late:x:" + uid + ":" + itoa(os.Getgid()) + "::/home/late:/bin/sh\n"},
			{Path: "/home/late/.ssh/authorized_keys", Content: "THEIRS\n", Owner: "late"},
			{Path: "/etc/resolv.conf", Content: "options rotate\n", Append: true},
			{Path: "/etc/hostname", Content: "other\n"},
		},
	}
	for boot := range 3 {
		if err := writeIdentity(root, config); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"/etc/hosts":                      blockBegin + "\n127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.0.0.2 m1\n" + blockEnd + "\n10.0.0.7 whole\n10.0.0.8 added\n",
			"/etc/fstab":                      "theirs\n" + blockBegin + "\n/dev/vdc /data auto defaults,nofail 0 0\n/dev/vdb /data/in auto defaults,nofail 0 0\n" + blockEnd + "\n",
			"/home/late/.ssh/authorized_keys": "THEIRS\n" + blockBegin + "\nKEY\n" + blockEnd + "\n",
			"/etc/resolv.conf":                resolverMark + "\nnameserver 10.0.0.1\noptions rotate\n",
			"/etc/hostname":                   "other\n",
		} {
			if got := content(t, root, name); got != want {
				t.Errorf("boot %d: %s is %q, want %q", boot, name, got, want)
			}
		}
	}
}

// Folders made in somebody's home are theirs; a program's home is no home.
func TestFoldersOfStartupFiles(t *testing.T) {
	id := &identity{accounts: accounts.ParsePasswd("root:x:0:0::/root:/bin/sh\nbin:x:2:2::/bin:/bin/false\nnobody:x:65534:65534::/nonexistent:/bin/false\n" +
		"ann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:100::/home/ann/bob:/bin/sh\nslash:x:1002:1002::/:/bin/sh\n")}
	for _, c := range []struct {
		path     string
		owner    int
		uid, gid int
	}{
		{"/home/ann/.config/x", 0, 1000, 1000},
		{"/home/ann/x", 1000, 1000, 1000},
		{"/home/ann/bob/x/y", 0, 1001, 100},
		{"/home/annette/x", 0, 0, 0},
		{"/home/ann/../x/y", 0, 0, 0},
		{"/bin/x/y", 0, 0, 0},
		{"/bin/x/y", 2, 2, 2},
		{"/nonexistent/x/y", 0, 0, 0},
		{"/root/x/y", 1000, 0, 0},
		{"/srv/x/y", 1000, 0, 0},
	} {
		if got := id.folders(c.path, attr{uid: c.owner}); got != (attr{c.uid, c.gid, 0o755}) {
			t.Errorf("folders of %s of %d are %+v, want %d:%d", c.path, c.owner, got, c.uid, c.gid)
		}
	}
}

func TestWithoutDHCP(t *testing.T) {
	old := "auto eth0\niface eth0 inet dhcp\niface eth1 inet dhcp\niface eth0 inet6 auto\n"
	want := "auto eth0\niface eth0 inet manual\niface eth1 inet dhcp\niface eth0 inet6 auto\n"
	if got := withoutDHCP(old, []wire.Interface{{Name: "eth0"}}); got != want {
		t.Errorf("got %q", got)
	}
}

func TestVirtioModules(t *testing.T) {
	got := virtioModules([]string{"0x0001\n", "0x0001\n", "0x0002\n", "0x00ff\n"})
	if want := []string{"virtio_blk", "virtio_net"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestModulesInOrder(t *testing.T) {
	m := newModules("a /a\nb /b a\nc /c b a\n")
	var loaded []string
	m.load = func(file string) error { loaded = append(loaded, file); return nil }
	for _, name := range []string{"c", "c", "built_in"} {
		if err := m.ensure(name); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"/a", "/b", "/c"}; !slices.Equal(loaded, want) {
		t.Errorf("loaded %v, want %v", loaded, want)
	}
	m = newModules("a /a\nb /b a\n")
	m.load = func(string) error { return syscall.ENOEXEC }
	if err := m.ensure("b"); err == nil || !strings.Contains(err.Error(), "cannot load module a") {
		t.Errorf("error is %v", err)
	}
}

func TestProbe(t *testing.T) {
	disk := func(at int, magic string) *bytes.Reader {
		b := make([]byte, 0x20000)
		copy(b[at:], magic)
		return bytes.NewReader(b)
	}
	for want, r := range map[string]*bytes.Reader{
		"xfs": disk(0, "XFSB"), "ext4": disk(1080, "\x53\xef"), "btrfs": disk(0x10040, "_BHRfS_M"), "": bytes.NewReader(make([]byte, 10)),
	} {
		if got, err := probe(r); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

func TestExt4Size(t *testing.T) {
	sb := make([]byte, 1024)
	if b, s := ext4Size(sb); b != 0 || s != 0 {
		t.Errorf("no superblock gave %d blocks of %d", b, s)
	}
	copy(sb[0x38:], "\x53\xef")
	sb[0x4], sb[0x18], sb[0x60], sb[0x150] = 5, 2, 0x80, 1
	if b, s := ext4Size(sb); b != 1<<32+5 || s != 4096 {
		t.Errorf("got %d blocks of %d", b, s)
	}
	sb[0x18] = 200
	if _, s := ext4Size(sb); s != 0 {
		t.Errorf("a nonsense block size gave %d", s)
	}
}
