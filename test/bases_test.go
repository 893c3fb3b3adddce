package test

import (
	"encoding/xml"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sandlot/internal/labtest"
	"sandlot/internal/manifest"
	"sandlot/playgrounds"
)

// TestBases boots each official base and looks for its point: the stories of
// script/bases. `make test-bases` builds the images they need.
func TestBases(t *testing.T) {
	labtest.Require(t, labtest.Root, labtest.VM, labtest.Bases)
	tell(t, "script/bases", 1, "make test-bases")
}

func readBases(t *testing.T) []*manifest.Manifest {
	t.Helper()
	var bases []*manifest.Manifest
	for _, name := range playgrounds.Names() {
		data, err := playgrounds.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		m, problems := manifest.Parse(name+".yaml", data)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		bases = append(bases, m)
	}
	return bases
}

// sources are the named images of a base's drives.
func sources(m *manifest.Manifest) (images []string) {
	for _, machine := range m.Playground.Machines {
		for _, d := range machine.Drives {
			if d.Source != "" {
				images = append(images, d.Source)
			}
		}
	}
	return images
}

func TestBasesAreComplete(t *testing.T) {
	for _, m := range readBases(t) {
		if m.Description == "" || m.Markdown == "" || len(m.Categories) == 0 || m.Playground.AccessControl == nil {
			t.Errorf("%s: description, markdown, categories and accessControl must all be there", m.Name)
		}
		// The cover is a picture in itself: it needs no server, and goes with
		// the playgrounds that are made from the base.
		encoded, ok := strings.CutPrefix(m.Cover, "data:image/svg+xml,")
		svg, err := url.PathUnescape(encoded)
		if err == nil {
			err = xml.Unmarshal([]byte(svg), &struct {
				XMLName xml.Name `xml:"http://www.w3.org/2000/svg svg"`
			}{})
		}
		if !ok || err != nil || strings.ContainsAny(encoded, "#<>") || len(encoded) > 1000 {
			t.Errorf("%s: cover: %v; write a small SVG as data:image/svg+xml, with %%23, %%3C and %%3E", m.Name, err)
		}
		if m.Name == manifest.Flexbox {
			continue // has no machine to boot
		}
		for _, image := range sources(m) {
			if _, err := os.Stat(filepath.Join("../images", image, "Dockerfile")); err != nil {
				t.Errorf("%s: image %s is not official: %v", m.Name, image, err)
			}
		}
		script, err := os.ReadFile(filepath.Join("script/bases", m.Name+".txtar"))
		if err != nil || !strings.Contains(string(script), "start "+m.Name+" ") {
			t.Errorf("%s: script/bases/%s.txtar must start it: %v", m.Name, m.Name, err)
		}
	}
}
