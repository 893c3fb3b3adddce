package labinit

import (
	"os"
	"testing"

	"sandlot/guest/wire"
)

func TestInitConditions(t *testing.T) {
	podman := `pod"man <&>`
	for name, c := range map[string]struct {
		config wire.Config
		want   string
	}{
		"chosen and null": {
			wire.Config{InitConditions: map[string]*string{"Container runtime": &podman, "note": nil}},
			"{\n  \"Container runtime\": \"pod\\\"man <&>\",\n  \"note\": null\n}\n",
		},
		"none":         {wire.Config{}, "{}\n"},
		"the author's": {wire.Config{StartupFiles: []wire.StartupFile{{Path: conditionsFile, Content: "mine"}}}, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			root := image(t, debian(t))
			for range 2 { // every boot
				if err := writeIdentity(root, c.config); err != nil {
					t.Fatal(err)
				}
			}
			info, err := os.Stat(root.base + conditionsFile)
			if err != nil {
				t.Fatal(err)
			}
			if got := content(t, root, conditionsFile); got != c.want || info.Mode() != 0o644 {
				t.Errorf("file is %q with mode %v, want %q", got, info.Mode(), c.want)
			}
		})
	}
}
