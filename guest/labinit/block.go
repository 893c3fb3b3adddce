package labinit

import "strings"

// Marks around the lines that are ours in a file that others write too.
const (
	blockBegin = "# sandlot: begin (rewritten at every boot)"
	blockEnd   = "# sandlot: end"
)

// withBlock returns text with our block holding exactly these lines: in its
// old place if there is one, else at the end, or at the start if first. Lines
// outside the marks stay as they are. With no lines the block goes away.
func withBlock(text string, lines []string, first bool) string {
	var block string
	if len(lines) > 0 {
		block = blockBegin + "\n" + strings.Join(lines, "\n") + "\n" + blockEnd + "\n"
	}
	begin := lineIndex(text, blockBegin)
	if begin >= 0 {
		rest := text[begin:]
		end := lineIndex(rest, blockEnd)
		if end < 0 {
			// Somebody deleted the end: only the mark is surely ours.
			return text[:begin] + block + after(rest, 0)
		}
		return text[:begin] + block + after(rest, end)
	}
	if block == "" {
		return text
	}
	if first {
		return block + text
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + block
}

// lineIndex finds the line that is exactly mark, or -1.
func lineIndex(text, mark string) int {
	at := 0
	for line := range strings.Lines(text) {
		if strings.TrimRight(line, "\r\n") == mark {
			return at
		}
		at += len(line)
	}
	return -1
}

// after returns what follows the line that starts at i.
func after(text string, i int) string {
	_, rest, _ := strings.Cut(text[i:], "\n")
	return rest
}
