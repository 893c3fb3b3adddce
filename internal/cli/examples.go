package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// play stands for a play's id in examples.
const examplePlay = "65a1f0c2d3e4b5a697887766"

// examples are those of commands that bring none of their own, by their path.
var examples = map[string]string{
	"auth login":                 "labctl auth login --endpoint http://localhost:8484\nlabctl auth login -s SESSION -t TOKEN   # as labd credentials prints them",
	"auth logout":                "labctl auth logout",
	"auth whoami":                "labctl auth whoami -o json",
	"auth plan":                  "labctl auth plan\nlabctl auth plan -o json",
	"auth token list":            "labctl auth token list",
	"auth token revoke":          "labctl auth token revoke 0123456789abcdef",
	"auth signin-url":            "labctl auth signin-url",
	"playground list":            "labctl playground list\nlabctl playground list -a -o json",
	"playground status":          "labctl playground status PLAY\nlabctl playground status PLAY -o json",
	"playground machines":        "labctl playground machines PLAY",
	"playground stop":            "labctl playground stop PLAY",
	"playground restart":         "labctl playground restart PLAY\nlabctl playground restart demo   # a play by the beginning of its title",
	"playground destroy":         "labctl playground destroy PLAY",
	"playground persist":         "labctl playground persist PLAY",
	"playground lifetime":        "labctl playground lifetime PLAY\nlabctl playground lifetime PLAY 4h",
	"playground catalog":         "labctl playground catalog\nlabctl playground catalog -f my-custom -q",
	"playground tasks":           "labctl playground tasks PLAY\nlabctl playground tasks PLAY --wait --timeout 5m",
	"playground wait":            "labctl playground wait PLAY",
	"playground remove":          "labctl playground remove my-lab-0a1b2c3d",
	"playground manifest":        "labctl playground manifest debian-12 > lab.yaml",
	"playground region":          "labctl playground region\nlabctl playground region eu",
	"playground machine reboot":  "labctl playground machine reboot PLAY web",
	"playground machine stop":    "labctl playground machine stop PLAY web",
	"playground machine restart": "labctl playground machine restart PLAY web",
	"playground machine console": "labctl playground machine console PLAY web",
	"playground machine journal": "labctl playground machine journal PLAY web\nlabctl playground machine journal PLAY web -u nginx -n 100",
	"manifest validate":          "labctl manifest validate lab.yaml\nlabctl manifest validate examples/*.yaml",
	"manifest plan":              "labctl manifest plan lab.yaml\nlabctl manifest plan -i KEY=VALUE -o json lab.yaml",
	"manifest schema":            "labctl manifest schema > sandlot.schema.json",
	"ssh":                        "labctl ssh PLAY\nlabctl ssh PLAY -m web -u root -- systemctl status nginx",
	"terminal":                   "labctl terminal PLAY -m web\nlabctl terminal PLAY -u root -- ip route",
	"search":                     "labctl search docker\nlabctl search --kind playground --category networking -o json",
	"api":                        "labctl api /auth/me\nlabctl api /plays/PLAY\necho '{\"action\":\"stop\"}' | labctl api /plays/PLAY/actions --input -",
	"version":                    "labctl version",
}

// finish gives every command its example.
func (a *App) finish(root *cobra.Command) {
	for _, c := range root.Commands() {
		a.finish(c)
		path := strings.TrimPrefix(c.CommandPath(), "labctl ")
		if text, ok := examples[path]; ok && c.Example == "" {
			text = strings.ReplaceAll(text, "PLAY", examplePlay)
			c.Example = "  " + strings.ReplaceAll(text, "\n", "\n  ")
		}
	}
}
