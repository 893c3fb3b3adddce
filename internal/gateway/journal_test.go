package gateway

import "testing"

// Characters that are cut between two frames come out whole; what is none
// does not wait for ever.
func TestText(t *testing.T) {
	for _, parts := range [][]string{{"a", "b"}, {"\xe2\x82", "\xac!"}, {"\xf0\x9f", "\x98", "\x80"}, {"\xff\xfe", "x"}, {"", "é"}} {
		var in, out string
		var x text
		for _, p := range parts {
			in += p
			out += x.whole([]byte(p))
		}
		if out += string(x.rest); out != in {
			t.Errorf("%q became %q", in, out)
		}
	}
	var x text
	if got := x.whole([]byte("ab\xe2\x82")); got != "ab" {
		t.Errorf("cut inside a character: %q", got)
	}
}
