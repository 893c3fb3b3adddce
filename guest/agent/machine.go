package agent

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandlot/guest/wire"
)

// shutdown asks process 1, in the language it understands, to end the machine.
func (a *Agent) shutdown(how string) error {
	if how != "poweroff" && how != "reboot" {
		return fmt.Errorf("cannot shut down with %q: want poweroff or reboot", how)
	}
	sig, err := shutdownSignal(how, a.Init, a.initProgram())
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.Root+leavingFile, nil, 0o600); err != nil {
		a.Log("tasks will not know of the shutdown: %v", err)
	}
	a.events.post(wire.Event{Kind: wire.EventLeave, Detail: how})
	if sig == 0 {
		p, err := a.start("/sbin/"+how, []string{how}, &os.ProcAttr{Dir: "/", Env: []string{"PATH=" + rootPath}, Sys: &syscall.SysProcAttr{Setsid: true}})
		if err != nil {
			return fmt.Errorf("cannot %s: %v", how, err)
		}
		go p.Wait()
		return nil
	}
	if err := unix.Kill(1, sig); err != nil {
		return fmt.Errorf("cannot %s: %v", how, err)
	}
	return nil
}

func (a *Agent) initProgram() string {
	exe, _ := os.Readlink(a.Root + "/proc/1/exe")
	return filepath.Base(exe)
}

// shutdownSignal names the signal process 1 takes as poweroff or reboot; 0
// means that its own command is to be run.
func shutdownSignal(how, init, program string) (unix.Signal, error) {
	poweroff := how == "poweroff"
	switch {
	case strings.HasPrefix(program, "systemd"):
		// SIGRTMIN+4 and +5: see systemd(1). The C library keeps two real-time
		// signals for itself, so its SIGRTMIN is 34.
		if poweroff {
			return 34 + 4, nil
		}
		return 34 + 5, nil
	case program == "busybox" || init == "":
		if poweroff {
			return unix.SIGUSR2, nil
		}
		return unix.SIGTERM, nil
	}
	return 0, nil
}

// authorize adds a key to a user's authorized_keys, once. It works as the
// user would, so that links the user made lead nowhere root could not be led.
func (a *Agent) authorize(r wire.Authorize) error {
	key := strings.TrimSpace(r.Key)
	if key == "" || strings.ContainsAny(key, "\n\r\x00") || len(key) > 16<<10 {
		return errors.New("cannot authorize key: it is not one line")
	}
	u, err := a.account(r.User)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(a.Root + u.Home)
	if err != nil {
		return fmt.Errorf("cannot authorize key: %v", err)
	}
	defer root.Close()
	own := func(name string) error {
		if os.Geteuid() != 0 {
			return nil
		}
		return root.Lchown(name, u.UID, u.GID)
	}
	if err := root.Mkdir(".ssh", 0o700); err == nil {
		err = own(".ssh")
		if err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cannot authorize key: %v", err)
	}
	const name = ".ssh/authorized_keys"
	_, statErr := root.Lstat(name)
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("cannot authorize key: %v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxAccountFile {
		return errors.New("cannot authorize key: authorized_keys is not a usable file")
	}
	old := make([]byte, info.Size())
	if _, err := f.ReadAt(old, 0); err != nil && info.Size() > 0 {
		return fmt.Errorf("cannot authorize key: %v", err)
	}
	for line := range strings.Lines(string(old)) {
		if strings.TrimSpace(line) == key {
			return nil
		}
	}
	if len(old) > 0 && old[len(old)-1] != '\n' {
		key = "\n" + key
	}
	if _, err := f.WriteString(key + "\n"); err != nil {
		return fmt.Errorf("cannot authorize key: %v", err)
	}
	if statErr != nil {
		return own(name)
	}
	return nil
}

// restored sets what a snapshot made stale: the random pool and the clock.
func (a *Agent) restored(r wire.Restored) error {
	seed, err := base64.StdEncoding.DecodeString(r.Seed)
	if err != nil {
		return fmt.Errorf("cannot read seed: %v", err)
	}
	if a.CreditEntropy != nil && len(seed) > 0 {
		if err := a.CreditEntropy(seed); err != nil {
			return fmt.Errorf("cannot reseed: %v", err)
		}
		reseed()
	}
	if r.UnixNano > 0 {
		ts := unix.NsecToTimespec(r.UnixNano)
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			return fmt.Errorf("cannot set the clock to %s: %v", time.Unix(0, r.UnixNano).UTC(), err)
		}
	}
	return nil
}

// reseed makes the kernel's generator use the new entropy at once.
func reseed() {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	unix.IoctlSetInt(int(f.Fd()), unix.RNDRESEEDCRNG, 0)
}
