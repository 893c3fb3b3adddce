package cli

import (
	"net"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestEditorsAreGivenOneFolder(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40022}
	for name, want := range map[string][]string{
		"code":      {"--folder-uri", "vscode-remote://ssh-remote+ann@127.0.0.1:40022/home/ann/a%20b"},
		"zed":       {"ssh://ann@127.0.0.1:40022/home/ann/a%20b"},
		"jetbrains": {"jetbrains-gateway://connect#deploy=true&host=127.0.0.1&port=40022&projectPath=%2Fhome%2Fann%2Fa+b&type=ssh&user=ann"},
	} {
		i := slices.IndexFunc(editors, func(e editor) bool { return e.name == name })
		if got := editors[i].args("ann", at, "/home/ann/a b"); !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if _, err := findEditor("sh"); err == nil || !strings.Contains(err.Error(), "known are antigravity, code") {
		t.Errorf("%v", err)
	}
}

func TestWhatIsClonedWhere(t *testing.T) {
	for _, c := range []struct {
		workdir, repo, url, target, open string
	}{
		{"", "https://example.org/a/app.git", "https://example.org/a/app.git", "/home/ann/app", "/home/ann/app"},
		{"p", "https://example.org:8443/app", "https://example.org:8443/app", "/home/ann/p/app", "/home/ann/p"},
		{"/srv", "https://example.org/app:x/y", "https://example.org/app", "/srv/x/y", "/srv"},
		{"", "git@example.org:a/app.git", "git@example.org:a/app.git", "/home/ann/app", "/home/ann/app"},
		{"", "git@example.org:app:/opt/app", "git@example.org:app", "/opt/app", "/opt/app"},
	} {
		clones, dir, err := editing{workdir: c.workdir, repos: []string{c.repo}}.plan("/home/ann")
		if err != nil || len(clones) != 1 || clones[0] != (clone{c.url, c.target}) || dir != c.open {
			t.Errorf("%+v: %+v, %q, %v", c, clones, dir, err)
		}
	}
	for _, bad := range []string{"", "--upload-pack=x", "https://x/\ny", ":x"} {
		if _, _, err := (editing{repos: []string{bad}}).plan("/root"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if got := quoted("a'; rm -rf /'"); got != `'a'\''; rm -rf /'\'''` {
		t.Error(got)
	}
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: k
  cluster:
    certificate-authority-data: Q0E=
    server: https://172.16.0.2:6443
users:
- name: admin
  user:
    token: secret
`

func TestLocalKubeconfig(t *testing.T) {
	out, err := localKubeconfig([]byte(kubeconfig), "https://127.0.0.1:7443")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Clusters []struct{ Cluster map[string]string }
		Users    []struct{ User map[string]string }
	}
	if err := yaml.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	c := got.Clusters[0].Cluster
	if c["server"] != "https://127.0.0.1:7443" || c["tls-server-name"] != "172.16.0.2" || c["certificate-authority-data"] != "Q0E=" || got.Users[0].User["token"] != "secret" {
		t.Errorf("%s", out)
	}
	for part, instead := range map[string]string{
		"token: secret":                 "exec: {command: /bin/sh}",
		"    token: secret":             "    auth-provider: {name: x}",
		"  user:\n    token: secret":    "  user: &u {tokenFile: /etc/passwd}",
		"    token":                     "    client-key: /root/.ssh/id\n    token",
		"    server":                    "    certificate-authority: /etc/x\n    server",
		"https://172.16.0.2:6443":       "x",
		"clusters:":                     "others:",
		kubeconfig:                      "- 1",
		"  user:":                       "  user: *k\n  x:",
		"user:\n    token: secret\n":    "user:\n    <<: {exec: {command: x}}\n",
		"    server: https://172.16.0.": "    proxy-url: http://evil\n    server: https://172.16.0.",
	} {
		changed := strings.Replace(kubeconfig, part, instead, 1)
		if changed == kubeconfig {
			t.Fatalf("%q is not in it", part)
		}
		if out, err := localKubeconfig([]byte(changed), "https://127.0.0.1:7443"); err == nil {
			t.Errorf("%q is taken:\n%s", instead, out)
		}
	}
}
