package volume

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/internal/labtest"
)

// labd is killed between two of Open's acts, and while a volume is made: the
// kernel takes back what has no name, and the next Open goes on.
func TestSIGKILL(t *testing.T) {
	labtest.Require(t, labtest.Root)
	if at := os.Getenv("VOLUME_TEST_KILL_AT"); at != "" {
		if err := stopAt(at, os.Getenv("VOLUME_TEST_ROOT")); err != nil {
			t.Fatal(err)
		}
		fmt.Println("ready to be killed")
		select {}
	}
	for _, at := range []string{"attached", "mounted", "half a volume"} {
		t.Run(at, func(t *testing.T) {
			o := testOptions(t)
			openImagePool(t, o)
			if at != "half a volume" {
				if err := Unmount(context.Background(), o); err != nil {
					t.Fatal(err)
				}
			}
			child := exec.Command(os.Args[0], "-test.run", "^TestSIGKILL$")
			child.Env = append(os.Environ(), "VOLUME_TEST_KILL_AT="+at, "VOLUME_TEST_ROOT="+filepath.Dir(o.Dir))
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			ready := false
			for !ready && lines.Scan() {
				t.Log(lines.Text())
				ready = strings.Contains(lines.Text(), "ready to be killed")
			}
			if err := child.Process.Kill(); err != nil || !ready {
				t.Fatalf("ready %v, %v", ready, err)
			}
			_ = child.Wait()
			if at == "attached" {
				if left := loopsOn(t, o.ImageFile); len(left) > 0 {
					t.Errorf("loop devices left: %v", left)
				}
			}
			p, err := Open(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			if n := mounts(t, o.Dir); n != 1 {
				t.Errorf("%d mounts, want 1", n)
			}
			if left, err := os.ReadDir(p.Dir()); err != nil || len(left) > 0 {
				t.Errorf("left in the pool: %v, %v", left, err)
			}
		})
	}
}

// kept stays open until the kill.
var kept *os.File

func stopAt(at, root string) error {
	o := Options{Dir: filepath.Join(root, "pool"), ImageFile: filepath.Join(root, "pool.img")}
	switch at {
	case "attached":
		image, err := os.OpenFile(o.ImageFile, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		kept, err = attachLoop(image)
		return err
	case "mounted":
		_, err := mountImage(o)
		return err
	}
	f, err := nameless(o.Dir)
	if err != nil {
		return err
	}
	kept = f
	return f.Truncate(1 << 30)
}
