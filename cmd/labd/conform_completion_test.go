package main

import (
	"os/exec"
	"strings"
	"testing"
)

// What a shell offers after Tab, asked of the shells themselves.
func TestConformCompletion(t *testing.T) {
	clients(t, func(t *testing.T, r *rehearsal, c *labctl) {
		c.signedIn()
		id := c.begin("pair")
		for shell, script := range map[string]string{
			// The words of a command line and what COMPREPLY has then; a
			// function of bash-completion is replaced, which is not everywhere.
			"bash": `_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]}; prev=${COMP_WORDS[COMP_CWORD-1]}; words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; }
_init_completion() { _get_comp_words_by_ref; }
__ltrimcolons() { :; }; __ltrim_colon_completions() { :; }
compopt() { :; }
source <(labctl completion bash)
COMP_WORDS=(labctl "$@" ""); COMP_CWORD=$#; COMP_CWORD=$((COMP_CWORD+1)); COMP_LINE="labctl $* "; COMP_POINT=${#COMP_LINE}; COMP_TYPE=63
__start_labctl
printf '%s\n' "${COMPREPLY[@]}"`,
			"zsh":  "source <(labctl completion zsh); labctl __complete \"$@\" ''",
			"fish": "labctl completion fish | source; complete -C \"labctl $argv \"",
		} {
			program, err := exec.LookPath(shell)
			if err != nil {
				t.Logf("%s is not installed", shell)
				continue
			}
			for args, want := range map[string]string{
				"ssh": id, "ssh " + id + " -m": "two", "playground": "start", "playground start": "docker", "port-forward": id,
			} {
				cmd := exec.CommandContext(t.Context(), program, append([]string{"-c", script, shell}, strings.Fields(args)...)...)
				cmd.Env, cmd.Dir = c.env, c.home
				if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
					t.Errorf("%s offers after %q: %v\n%s", shell, args, err, out)
				}
			}
		}
	})
}
