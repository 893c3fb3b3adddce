package labinit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"sandlot/guest/accounts"
	"sandlot/guest/wire"
)

const startupRecord = stateDir + "/startup-files"

// wholeFiles writes the startup files that are no appends, and the appends
// that one of them replaces later in the list.
func (id *identity) wholeFiles() error { return id.startupFiles(true) }

// appendedFiles applies the others: an append to /etc/resolv.conf shall follow
// our lines.
func (id *identity) appendedFiles() error { return id.startupFiles(false) }

// startupFiles applies each of the author's files once in the life of the root
// drive: a reboot must neither append twice nor undo what a person changed.
func (id *identity) startupFiles(whole bool) error {
	if len(id.config.StartupFiles) == 0 {
		return nil
	}
	record, err := id.tree.read(startupRecord)
	if err != nil {
		return err
	}
	applied := string(record)
	var errs []error
	for i, f := range id.config.StartupFiles {
		key := startupKey(i, f)
		replaced := slices.ContainsFunc(id.config.StartupFiles[i:], func(later wire.StartupFile) bool {
			return !later.Append && path.Clean(later.Path) == path.Clean(f.Path)
		})
		if replaced != whole || lineIndex(applied, key) >= 0 {
			continue
		}
		if err := id.startupFile(f); err != nil {
			errs = append(errs, fmt.Errorf("%s: %v", f.Path, err))
			continue
		}
		if name := path.Clean(f.Path); name == "/etc/passwd" || name == "/etc/group" {
			errs = append(errs, id.readAccounts())
		}
		applied += key + "\n"
		// At once: a power cut must not make the next boot append again.
		if err := id.tree.write(startupRecord, []byte(applied), rootSecret); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// startupKey tells one entry of the list from another with the same content.
func startupKey(i int, f wire.StartupFile) string {
	body, _ := json.Marshal(f) // strings and a bool always encode
	sum := sha256.Sum256(append([]byte(strconv.Itoa(i)+":"), body...))
	return hex.EncodeToString(sum[:])
}

func (id *identity) startupFile(f wire.StartupFile) error {
	if !path.IsAbs(f.Path) || strings.ContainsRune(f.Path, 0) {
		return errors.New("the path is not absolute")
	}
	a := rootFile
	if f.Owner != "" {
		uid, gid, err := accounts.Owner(f.Owner, id.accounts, id.groups)
		if err != nil {
			return err
		}
		a.uid, a.gid = uid, gid
	}
	if f.Mode != "" {
		mode, err := parseMode(f.Mode)
		if err != nil {
			return err
		}
		a.mode = mode
	}
	if err := id.tree.mkdir(path.Dir(path.Clean(f.Path)), id.folders(f.Path, a)); err != nil {
		return err
	}
	if f.Append {
		return id.tree.edit(f.Path, a, func(old string) string { return old + f.Content })
	}
	return id.tree.write(f.Path, []byte(f.Content), a)
}

// folders are the owner and mode of the folders made for a file: in the home of
// the file's owner or of a person they belong to whose home it is, since a
// folder of root's there is of no use, else to root.
func (id *identity) folders(file string, a attr) attr {
	owner, home := rootDir, ""
	for _, account := range id.accounts {
		mine := account.UID == a.uid || personal(account)
		if mine && account.Home != "/" && len(account.Home) > len(home) && strings.HasPrefix(path.Clean(file), account.Home+"/") {
			owner.uid, owner.gid, home = account.UID, account.GID, account.Home
		}
	}
	return owner
}

func parseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o7777 {
		return 0, fmt.Errorf("mode %q is not octal", s)
	}
	mode := fs.FileMode(n & 0o777)
	if n&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if n&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if n&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode, nil
}
