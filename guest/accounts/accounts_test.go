package accounts

import "testing"

const passwd = `root:x:0:0:root:/root:/bin/bash
# comment
broken
short:x:5:5:
bad:x:-1:0::/:/bin/sh
huge:x:4294967295:0::/:/bin/sh
odd:x:7:7::relative/home:/bin/sh
laborant:x:1001:100:,,,:/home/laborant/../laborant:/bin/zsh` + "\r\n"

func TestParsePasswd(t *testing.T) {
	got := ParsePasswd(passwd)
	want := []Account{
		{"root", 0, 0, "/root", "/bin/bash"},
		{"odd", 7, 7, "/", "/bin/sh"},
		{"laborant", 1001, 100, "/home/laborant", "/bin/zsh"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestOwner(t *testing.T) {
	users := ParsePasswd(passwd)
	groups := ParseGroup("wheel:x:10:laborant,root\nbroken\nempty:x:11:\n")
	for owner, want := range map[string][2]int{
		"laborant":       {1001, 100},
		"laborant:wheel": {1001, 10},
		"1001":           {1001, 100},
		"2000":           {2000, 2000},
		"2000:3000":      {2000, 3000},
		":wheel":         {0, 10},
		"laborant:":      {1001, 100},
		"":               {0, 0},
	} {
		uid, gid, err := Owner(owner, users, groups)
		if err != nil || [2]int{uid, gid} != want {
			t.Errorf("%q is %d:%d, %v, want %v", owner, uid, gid, err, want)
		}
	}
	for _, owner := range []string{"ghost", "root:ghost", "-1", "4294967295", "0:99999999999"} {
		if _, _, err := Owner(owner, users, groups); err == nil {
			t.Errorf("%q was taken", owner)
		}
	}
}
