package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
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
			// Typed into a shell with a terminal of its own, and Tab behind it;
			// this waits for what is wanted to be shown.
			"zsh": `zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PROMPT=; autoload -U compinit; compinit -u -D; source <(labctl completion zsh); LISTMAX=0; echo rea""dy'
zpty -r shell out '*ready*'
zpty -w -n shell "labctl $* "$'\t\t'
zpty -r shell out "*$WANT*"
print -r -- $out`,
			"fish": "labctl completion fish | source; complete -C \"labctl $argv[2..] \"",
		} {
			t.Run(shell, func(t *testing.T) {
				program, err := exec.LookPath(shell)
				if err != nil {
					t.Skipf("%s is not installed: make test-packages installs it", shell)
				}
				for args, want := range map[string]string{
					"ssh": id, "ssh " + id + " -m": "two", "playground": "start", "playground start": "docker", "port-forward": id,
				} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					cmd := exec.CommandContext(ctx, program, append([]string{"-c", script, shell}, strings.Fields(args)...)...)
					cmd.Env, cmd.Dir = append(slices.Clone(c.env), "WANT="+want, "TERM=dumb"), c.home
					if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
						t.Errorf("%s offers after %q: %v\n%s", shell, args, err, out)
					}
					cancel()
				}
			})
		}
	})
}
