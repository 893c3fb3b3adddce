package vmfake_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sandlot/internal/vm"
	"sandlot/internal/vm/vmfake"
	"sandlot/internal/vm/vmtest"
	"sandlot/internal/vm/vmtest/talk"
)

func TestContract(t *testing.T) {
	vmtest.Run(t, func(t *testing.T) vmtest.Fixture {
		world := &vmfake.World{Agent: func(_ context.Context, g *vmfake.Guest, conn net.Conn) { talk.Serve(conn, guest{g}) }}
		return vmtest.Fixture{
			Driver: func(*testing.T) vm.Driver { return world.Driver() },
			Spec:   func(_ *testing.T, spec vm.Spec) vm.Spec { return spec },
			KillVMM: func(t *testing.T, m vm.Machine) {
				for _, name := range world.Running() {
					world.Guest(name).Crash("killed by the test")
				}
			},
			AwaitPoweroff: func(t *testing.T, spec vm.Spec) {
				for g := world.Guest(spec.Name); !g.Off(); time.Sleep(time.Millisecond) {
					if t.Context().Err() != nil {
						t.Fatal("guest is still on")
					}
				}
			},
			NoPing: true,
			Limit:  10 * time.Second,
		}
	})
}

// guest answers for a fake machine what a real one would see from inside.
type guest struct{ *vmfake.Guest }

func (g guest) Drives() ([]string, error) {
	var labels []string
	for _, drive := range g.Spec().Drives {
		body, err := os.ReadFile(drive.Path)
		if err != nil {
			return nil, err
		}
		text, _, _ := strings.Cut(string(body), "\x00")
		labels = append(labels, text)
	}
	return labels, nil
}

func (g guest) NICs() ([]string, error) {
	var macs []string
	for _, nic := range g.Spec().NICs {
		macs = append(macs, nic.MAC)
	}
	return macs, nil
}

func (g guest) Address(string, string) error { return errors.New("no network") }
func (g guest) Ping(string) error            { return errors.New("no network") }
func (g guest) Print(n int) error            { return g.Guest.Print(strings.Repeat(".", n)) }

func (g guest) Leave(how string) error {
	switch how {
	case "reboot":
		g.Reboot()
	case "poweroff":
		g.Poweroff()
	case "panic":
		g.Crash("guest kernel panic")
	default:
		return fmt.Errorf("cannot leave by %q", how)
	}
	return nil
}

func TestBootError(t *testing.T) {
	refused := errors.New("no room")
	world := &vmfake.World{BootError: func(vm.Spec) error { return refused }}
	if _, err := world.Driver().Start(t.Context(), vm.Spec{Name: "a", Dir: "/nonexistent/a"}); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if got := world.Running(); len(got) != 0 {
		t.Errorf("running: %v", got)
	}
}

// A machine that crashed while no labd ran is not there to be adopted.
func TestCrashUnseen(t *testing.T) {
	world := &vmfake.World{}
	driver, spec := world.Driver(), vm.Spec{Name: "a", Dir: "/nonexistent/a"}
	if _, err := driver.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	driver.Close()
	world.Guest("a").Crash("")
	if _, err := world.Driver().Adopt(t.Context(), spec); !errors.Is(err, vm.ErrNotRunning) {
		t.Errorf("got %v", err)
	}
	if got := world.Starts("a"); got != 1 {
		t.Errorf("started %d times", got)
	}
}
