// Package playgrounds holds the official base playgrounds as manifests. In
// goes a name, out comes YAML for package manifest.
package playgrounds

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names lists the bases in alphabetical order.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = strings.TrimSuffix(entry.Name(), ".yaml")
	}
	return names
}

// Read returns the manifest of a base.
func Read(name string) ([]byte, error) {
	data, err := files.ReadFile(name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("cannot find base playground %q: known are %s", name, strings.Join(Names(), ", "))
	}
	return data, nil
}
