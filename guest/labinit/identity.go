package labinit

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"sandlot/guest/accounts"
	"sandlot/guest/wire"
)

// stateDir remembers on the root drive what must happen once, not once a boot.
const stateDir = "/var/lib/sandlot"

// identity writes into the machine's root filesystem what its configuration
// says about it. All of it may be repeated at every boot.
type identity struct {
	tree     tree
	config   wire.Config
	accounts []accounts.Account
	groups   []accounts.Group
	// claimed are the files a startup file of the author replaces as a whole:
	// after the first boot they are the author's, not ours.
	claimed map[string]bool
	options []string // of the kernel
}

// writeIdentity does everything it can and returns every failure.
func writeIdentity(t tree, config wire.Config) error {
	id := &identity{tree: t, config: config, claimed: map[string]bool{}, options: kernelOptions()}
	for _, f := range config.StartupFiles {
		if !f.Append {
			id.claimed[path.Clean(f.Path)] = true
		}
	}
	var errs []error
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"accounts", id.readAccounts},
		// Before what is ours goes into the same files, so that it stays there.
		{"startup files", id.wholeFiles},
		{"hostname", id.hostname},
		{"machine-id", id.machineID},
		{"hosts", id.hosts},
		{"resolv.conf", id.resolver},
		{"fstab", id.fstab},
		{"ssh host key", id.hostKey},
		{"known hosts", id.knownHosts},
		{"users", id.users},
		{"ca certificates", id.trust},
		{"welcome", id.welcome},
		{"network hints", id.networkHints},
		{"ssh hints", id.sshHints},
		{"init conditions", id.initConditions},
		{"startup files", id.appendedFiles},
		// These look at files as they are in the end.
		{"generator hints", id.generatorHints},
		{"up hints", id.upHints},
		{"idle hints", id.idleHints},
	} {
		if err := step.do(); err != nil {
			errs = append(errs, fmt.Errorf("cannot write %s: %v", step.name, err))
		}
	}
	return errors.Join(errs...)
}

func (id *identity) readAccounts() error {
	passwd, err1 := id.tree.read("/etc/passwd")
	group, err2 := id.tree.read("/etc/group")
	id.accounts = accounts.ParsePasswd(string(passwd))
	id.groups = accounts.ParseGroup(string(group))
	if _, ok := accounts.Find(id.accounts, "root"); !ok {
		id.accounts = append(id.accounts, accounts.Account{Name: "root", Home: "/root", Shell: "/bin/sh"})
	}
	return errors.Join(err1, err2)
}

func (id *identity) hostname() error {
	if id.config.Hostname == "" || id.claimed["/etc/hostname"] && id.tree.exists("/etc/hostname") {
		return nil
	}
	return id.tree.write("/etc/hostname", []byte(id.config.Hostname+"\n"), rootFile)
}

func (id *identity) machineID() error {
	if id.config.MachineID == "" {
		return nil
	}
	return id.tree.write("/etc/machine-id", []byte(id.config.MachineID+"\n"), attr{0, 0, 0o444})
}

func (id *identity) hosts() error {
	return id.tree.edit("/etc/hosts", rootFile, func(old string) string {
		return withBlock(old, hostsLines(old, id.config), true)
	})
}

// hostsLines are the lines of our block, given the file as it is: localhost
// too where the image, as most container images, has none.
func hostsLines(old string, config wire.Config) []string {
	var lines []string
	theirs := withBlock(old, nil, true)
	if !definesHost(theirs, "localhost") {
		lines = append(lines, "127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback")
	}
	self := false
	for _, h := range config.Hosts {
		self = self || slices.Contains(h.Names, config.Hostname)
		lines = append(lines, h.Address+" "+strings.Join(h.Names, " "))
	}
	if !self && config.Hostname != "" && !definesHost(theirs, config.Hostname) {
		lines = append(lines, "127.0.1.1 "+config.Hostname)
	}
	return lines
}

func definesHost(text, name string) bool {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > 1 && slices.Contains(f[1:], name) {
			return true
		}
	}
	return false
}

const resolverMark = "# sandlot: delete this line to keep your own changes over reboots"

// resolver writes the nameserver unless the file was made somebody's own;
// lines that somebody added to ours stay. Where it is a link into /run (systemd-resolved), the link's target is
// written: volatile, and resolved replaces it if it runs.
func (id *identity) resolver() error {
	if id.config.Nameserver == "" || id.claimed["/etc/resolv.conf"] {
		return nil
	}
	ours := resolverMark + "\nnameserver " + id.config.Nameserver + "\n"
	if old, err := id.tree.read("/etc/resolv.conf"); err == nil && id.tree.exists(stateDir+"/resolver") {
		text := string(old)
		at := lineIndex(text, resolverMark)
		if at < 0 && strings.TrimSpace(text) != "" {
			return nil
		}
		if at >= 0 {
			rest := after(text, at)
			if strings.HasPrefix(rest, "nameserver ") {
				rest = after(rest, 0)
			}
			ours = text[:at] + ours + rest
		}
	}
	if err := id.tree.write("/etc/resolv.conf", []byte(ours), rootFile); err != nil {
		return err
	}
	return id.tree.write(stateDir+"/resolver", nil, rootFile)
}

func (id *identity) fstab() error {
	var lines []string
	for _, m := range inOrder(id.config.Mounts) {
		if err := id.tree.mkdir(m.Path, rootDir); err != nil {
			return err
		}
		lines = append(lines, fstabLine(m))
	}
	if len(lines) == 0 && !id.tree.exists("/etc/fstab") {
		return nil
	}
	return id.tree.edit("/etc/fstab", rootFile, func(old string) string {
		return withBlock(old, lines, false)
	})
}

// fstabLine has nofail, because a machine whose data drive is broken is still
// worth entering, and no fsck pass: all filesystems we make have a journal,
// and a pass costs a second of boot for each drive under emulation.
func fstabLine(m wire.Mount) string {
	escape := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)
	options := "defaults,nofail"
	if m.ReadOnly {
		options = "ro,nofail"
	}
	return fmt.Sprintf("%s %s %s %s 0 0", m.Device, escape.Replace(m.Path), filesystemOr(m.Filesystem, "auto"), options)
}

func filesystemOr(fs, other string) string {
	if fs == "" {
		return other
	}
	return fs
}

func (id *identity) hostKey() error {
	if id.config.SSHHostKey == "" {
		return nil
	}
	public, err := publicHalf(id.config.SSHHostKey)
	if err != nil {
		return err
	}
	const file = "/etc/ssh/ssh_host_ed25519_key"
	return errors.Join(
		id.tree.write(file, []byte(id.config.SSHHostKey), rootSecret),
		id.tree.write(file+".pub", []byte(public+" "+id.config.Hostname+"\n"), rootFile),
	)
}

// publicHalf reads the public key that an unencrypted OpenSSH private key file
// carries, as "type base64". The format is PROTOCOL.key of OpenSSH. Done here
// because golang.org/x/crypto/ssh would double the size of labinit.
func publicHalf(private string) (string, error) {
	block, _ := pem.Decode([]byte(private))
	if block == nil || block.Type != "OPENSSH PRIVATE KEY" {
		return "", errors.New("the private key is not in OpenSSH's format")
	}
	rest, ok := strings.CutPrefix(string(block.Bytes), "openssh-key-v1\x00")
	if !ok {
		return "", errors.New("the private key has no openssh-key-v1 header")
	}
	field := func() string {
		if len(rest) < 4 {
			ok = false
			return ""
		}
		n := int(binary.BigEndian.Uint32([]byte(rest)))
		if n > len(rest)-4 {
			ok = false
			return ""
		}
		f := rest[4 : 4+n]
		rest = rest[4+n:]
		return f
	}
	field() // cipher
	field() // key derivation
	field() // its options
	if len(rest) < 4 {
		return "", errors.New("the private key is cut short")
	}
	rest = rest[4:] // number of keys
	public := field()
	whole := rest
	rest = public
	kind := field()
	rest = whole
	if !ok || kind == "" {
		return "", errors.New("the private key is cut short")
	}
	return kind + " " + base64.StdEncoding.EncodeToString([]byte(public)), nil
}

// knownHosts go into the system-wide file: it serves every user, those made
// later too.
func (id *identity) knownHosts() error {
	if len(id.config.KnownHosts) == 0 {
		return nil
	}
	return id.tree.edit("/etc/ssh/ssh_known_hosts", rootFile, func(old string) string {
		return withBlock(old, id.config.KnownHosts, false)
	})
}

// users gives each user its keys. root is always one of them.
func (id *identity) users() error {
	users := id.config.Users
	if !slices.ContainsFunc(users, func(u wire.User) bool { return u.Name == "root" }) {
		users = append(slices.Clone(users), wire.User{Name: "root"})
	}
	var errs []error
	for _, u := range users {
		account, ok := accounts.Find(id.accounts, u.Name)
		if !ok {
			errs = append(errs, fmt.Errorf("the image has no user %q, it has %s; correct the machine's users or add it to the image",
				u.Name, strings.Join(id.people(), ", ")))
			continue
		}
		errs = append(errs, id.homeDrive(account), id.userKeys(account, u.AuthorizedKeys))
	}
	return errors.Join(errs...)
}

// homeDrive gives a user the drive that is mounted at their home: the root of a
// new filesystem is root's.
func (id *identity) homeDrive(a accounts.Account) error {
	mine := func(m wire.Mount) bool { return m.Path == a.Home && !m.ReadOnly }
	if a.UID == 0 || !slices.ContainsFunc(id.config.Mounts, mine) {
		return nil
	}
	dir, err := id.tree.resolve(a.Home)
	if err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		return err
	}
	return own(dir, attr{a.UID, a.GID, 0o755})
}

// people are the names of the image's accounts that are meant for logins, the
// first ten.
func (id *identity) people() []string {
	var names []string
	for _, a := range id.accounts {
		if (a.UID == 0 || personal(a)) && len(names) < 10 {
			names = append(names, a.Name)
		}
	}
	return names
}

// personal tells people's accounts from those of programs, as login.defs of
// the distributions does.
func personal(a accounts.Account) bool { return a.UID >= 1000 && a.UID < 60000 }

func (id *identity) userKeys(a accounts.Account, keys []string) error {
	if len(keys) == 0 && id.config.SSHUserKey == "" {
		return nil
	}
	dir := path.Join(a.Home, ".ssh")
	if !id.tree.isDir(a.Home) {
		if err := id.tree.mkdir(a.Home, attr{a.UID, a.GID, 0o755}); err != nil {
			return err
		}
	}
	if err := id.tree.mkdir(dir, attr{a.UID, a.GID, 0o700}); err != nil {
		return err
	}
	secret := attr{a.UID, a.GID, 0o600}
	if len(keys) > 0 {
		err := id.tree.edit(dir+"/authorized_keys", secret, func(old string) string {
			return withBlock(old, keys, false)
		})
		if err != nil {
			return err
		}
	}
	// A user's own key is never replaced.
	const name = "/id_ed25519"
	if id.config.SSHUserKey == "" || id.tree.exists(dir+name) {
		return nil
	}
	public, err := publicHalf(id.config.SSHUserKey)
	if err != nil {
		return err
	}
	return errors.Join(
		id.tree.write(dir+name, []byte(id.config.SSHUserKey), secret),
		id.tree.write(dir+name+".pub", []byte(public+" sandlot\n"), attr{a.UID, a.GID, 0o644}),
	)
}

// Where distributions look for certificates to trust, and the bundles their
// tools make of them. Bundles are edited too: nothing runs the tool.
var (
	trustAnchors = []string{
		"/usr/local/share/ca-certificates",          // Debian, Alpine, Ubuntu
		"/etc/pki/ca-trust/source/anchors",          // Fedora, Rocky
		"/etc/ca-certificates/trust-source/anchors", // Arch
		"/etc/pki/trust/anchors",                    // openSUSE
	}
	trustBundles = []string{
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ca-certificates/extracted/tls-ca-bundle.pem",
		"/etc/ssl/ca-bundle.pem",
		"/etc/ssl/cert.pem",
		"/var/lib/ca-certificates/ca-bundle.pem",
	}
)

func (id *identity) trust() error {
	if len(id.config.CACertificates) == 0 {
		return nil
	}
	all := ""
	for _, c := range id.config.CACertificates {
		all += strings.TrimSpace(c) + "\n"
	}
	var errs []error
	anchored := false
	for _, dir := range trustAnchors {
		if id.tree.isDir(dir) {
			anchored = true
			errs = append(errs, id.tree.write(dir+"/sandlot.crt", []byte(all), rootFile))
		}
	}
	if !anchored {
		errs = append(errs, id.tree.write(trustAnchors[0]+"/sandlot.crt", []byte(all), rootFile))
	}
	seen := map[string]bool{}
	bundled := false
	for _, bundle := range trustBundles {
		file, err := id.tree.resolve(bundle)
		if err != nil || seen[file] {
			continue
		}
		seen[file] = true
		if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		bundled = true
		errs = append(errs, id.tree.edit(bundle, rootFile, func(old string) string {
			for _, c := range id.config.CACertificates {
				c = strings.TrimSpace(c) + "\n"
				if !strings.Contains(old, c) {
					if old != "" && !strings.HasSuffix(old, "\n") {
						old += "\n"
					}
					old += c
				}
			}
			return old
		}))
	}
	if !bundled {
		// Programs of such an image trust nobody yet.
		errs = append(errs, id.tree.write(trustBundles[0], []byte(all), rootFile))
	}
	return errors.Join(errs...)
}

const (
	welcomeDir     = "/etc/sandlot/welcome"
	welcomeProfile = "/etc/profile.d/sandlot-welcome.sh"
)

// The snippet runs in interactive login shells only; an editor's or scp's
// shell must stay silent.
const welcomeScript = `# Made by sandlot: shows the welcome message of the user who logs in.
case $- in *i*)
  if [ -r "` + welcomeDir + `/$(id -un)" ]; then cat "` + welcomeDir + `/$(id -un)"; fi ;;
esac
`

// welcome sets each user's banner: ~/.hushlogin silences the image's own
// (login, sshd and pam_motd all look at it), and a profile snippet prints the
// author's. Both work for every shell that reads /etc/profile.
func (id *identity) welcome() error {
	var errs []error
	script := false
	for _, u := range id.config.Users {
		account, ok := accounts.Find(id.accounts, u.Name)
		if u.Welcome == "" || !ok {
			continue
		}
		if !id.tree.exists(path.Join(account.Home, ".hushlogin")) {
			errs = append(errs, id.tree.write(path.Join(account.Home, ".hushlogin"), nil, attr{account.UID, account.GID, 0o644}))
		}
		if u.Welcome != "-" && filepath.Base(u.Name) == u.Name {
			script = true
			errs = append(errs, id.tree.write(path.Join(welcomeDir, u.Name), []byte(strings.TrimRight(u.Welcome, "\n")+"\n"), rootFile))
		}
	}
	if script {
		errs = append(errs, id.tree.write(welcomeProfile, []byte(welcomeScript), rootFile))
	}
	return errors.Join(errs...)
}
