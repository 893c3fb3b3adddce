package api

import (
	"encoding/json"
	"testing"
	"time"
)

// Shapes that the reference client crashes on when they are wrong.
func TestShapes(t *testing.T) {
	raw, err := json.Marshal(Play{Machines: []Machine{{Name: "a"}}, Status: &PlayStatus{}})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if string(got["tasks"]) != "{}" || string(got["expiresIn"]) != "0" || string(got["machines"]) != `[{"name":"a","users":null}]` {
		t.Errorf("a play is %s", raw)
	}
	if raw, _ := json.Marshal(Condition{Name: "Ready", Status: False}); string(raw) != `{"name":"Ready","status":"False"}` {
		t.Errorf("a condition without a time is %s", raw)
	}
	var k Kernel
	if err := json.Unmarshal([]byte(`"6.1"`), &k); err != nil || k.Source != "6.1" {
		t.Errorf("old kernel form: %+v, %v", k, err)
	}
	if err := json.Unmarshal([]byte(`{"source":"6.12"}`), &k); err != nil || k.Source != "6.12" {
		t.Errorf("kernel: %+v, %v", k, err)
	}
	if raw, _ := json.Marshal(k); string(raw) != `{"source":"6.12"}` {
		t.Errorf("kernel is written as %s", raw)
	}
}

func TestTimeSortsAsText(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600))
	a, b := Time(base), Time(base.Add(time.Millisecond))
	if a != "2025-12-31T23:00:00.000Z" || b <= a || !ParseTime(a).Equal(base) || Time(time.Time{}) != "" {
		t.Errorf("%q, %q", a, b)
	}
}
