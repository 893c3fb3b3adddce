package manifest

// Bounds of the work that a document can ask for. A node costs the YAML
// library up to 300 bytes, 2.8 KB with comments beside it, and 2 µs. Real
// manifests have a few thousand marks, long scripts included.
const (
	maxMarks         = 20_000
	maxExpandedNodes = 1 << 16
	maxExpandedBytes = 8 * MaxDocument
	maxItems         = 1000 // of one list or map; every list has a limit far below
)

// marks counts the places of a document where YAML may start a node, and its
// comments, before the library makes any. Every node but two or three of a
// document costs a mark, and none makes more than two nodes; text that only
// looks like it (scripts with colons, say) counts too, so this is a bound and
// not a parser.
//
// In block style a node takes "- ", "? ", ": " or an opening bracket after a
// blank. Between brackets each of ,:?[{ may start one; whether a closing
// bracket closes is certain only if no quote, comment or tag stood before it.
func marks(data []byte) int {
	n, depth := 0, 0
	sure := true
	start, blank := true, true // at the start of a line but for dashes; after a blank
	for i := 0; i < len(data); i++ {
		c := data[i]
		if size := breakAt(data, i); size > 0 {
			start, blank = true, true
			i += size - 1
			continue
		}
		switch c {
		case ' ', '\t':
			blank = true
			continue
		case '-', '?', ':':
			followed := i+1 == len(data) || data[i+1] == ' ' || data[i+1] == '\t' || breakAt(data, i+1) > 0
			if (c == ':' && followed) || (start && followed) || (depth > 0 && c != '-') {
				n++
			}
			start = start && followed && c != ':'
		case '[', '{':
			start = false
			if blank || depth > 0 {
				n++
				if depth++; depth == 1 {
					sure = true
				}
			}
		case ',':
			start = false
			if depth > 0 {
				n++
			}
		case ']', '}':
			start = false
			if depth > 0 && sure {
				depth--
			}
		case '#':
			if blank { // a comment costs the library as much as a node
				n++
			}
			start = false
			sure = false
		case '"', '\'', '!':
			start = false
			sure = false
		case 0xEF: // a byte order mark is no text
			if i == 0 && len(data) > 2 && data[1] == 0xBB && data[2] == 0xBF {
				i += 2
				continue
			}
			start = false
		default:
			start = false
		}
		blank = false
	}
	return n
}

// breakAt is the length of the line break at data[i], 0 if there is none. YAML
// 1.1 breaks lines at NEL, LS and PS too.
func breakAt(data []byte, i int) int {
	switch data[i] {
	case '\n', '\r':
		return 1
	case 0xC2:
		if i+1 < len(data) && data[i+1] == 0x85 {
			return 2
		}
	case 0xE2:
		if i+2 < len(data) && data[i+1] == 0x80 && (data[i+2] == 0xA8 || data[i+2] == 0xA9) {
			return 3
		}
	}
	return 0
}
