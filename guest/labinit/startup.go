package labinit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"sandlot/guest/accounts"
	"sandlot/guest/wire"
)

const startupRecord = stateDir + "/startup-files"

// startupFiles applies each of the author's files once in the life of the root
// drive: a reboot must neither append twice nor undo what a person changed.
func (id *identity) startupFiles() error {
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
		if lineIndex(applied, key) >= 0 {
			continue
		}
		if err := id.startupFile(f); err != nil {
			errs = append(errs, fmt.Errorf("%s: %v", f.Path, err))
			continue
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
	parents := attr{0, 0, 0o755}
	for _, account := range id.accounts {
		// A file in a user's home whose folders belong to root is of no use
		// to the user.
		if account.UID == a.uid && account.Home != "/" && strings.HasPrefix(path.Clean(f.Path), account.Home+"/") {
			parents.uid, parents.gid = a.uid, a.gid
		}
	}
	if err := id.tree.mkdir(path.Dir(path.Clean(f.Path)), parents); err != nil {
		return err
	}
	if f.Append {
		return id.tree.edit(f.Path, a, func(old string) string { return old + f.Content })
	}
	return id.tree.write(f.Path, []byte(f.Content), a)
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
