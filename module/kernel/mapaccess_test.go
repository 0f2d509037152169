package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/module"
)

const mapsC = "testdata/modules/mapkinds.c"

// What is written into a map is read as it was, whatever its types.
func TestMapValues(t *testing.T) {
	support(t)
	m := loadFile(t, "maps", mapsC)
	for _, c := range []struct{ name, key, value, wantKey, want string }{
		{"colors", `{"a":1,"b":-3}`, "GREEN", `{"a":1,"b":-3}`, "5"},
		{"colors", `{"a":0x10}`, "0", "", "does not fit"}, // no JSON
		{"colors", `{"a":16}`, "0", `{"a":16,"b":0}`, "0"},
		{"colors", `{"c":1}`, "RED", "", `no member "c"; it has a, b`},
		{"colors", "7", "RED", "", "7 is no value of type struct place"},
		{"colors", `{"a":1`, "RED", "", "is no valid JSON, and no value of type struct place"},
		{"colors", `{"a":1}`, "PINK", "", "it has RED, GREEN"},
		{"colors", `{"a":-1}`, "RED", "", "member a: -1 is no value of type __u32"},
		{"untyped", "0x01020304", "0xff000000", `"0x01020304"`, `"0xff000000"`},
		{"untyped", "0x0102", "0xff000000", "", "of 4 bytes"},
		{"untyped", "5", "0xff000000", "", "bytes in hexadecimal"},
		{"mixtures", "1", `{"first":1,"word":0x2}`, "", "no value of type struct mixed"}, // no JSON
		{"mixtures", "1", `{"first":1,"word":258,"inner":-2,"named":{"half":515},"flag":1,"small":31,"wide":1048575,"below":-8}`, "1",
			`{"below":-8,"first":1,"flag":1,"inner":-2,"named":{"half":515,"low":3},"part":[2,1,0,0],"small":31,"wide":1048575,"word":258}`},
		{"mixtures", "2", `{"part":[1,2,3,4],"below":7,"wide":5}`, "2",
			`{"below":7,"first":0,"flag":0,"inner":0,"named":{"half":0,"low":0},"part":[1,2,3,4],"small":0,"wide":5,"word":67305985}`},
		{"mixtures", "1", `{"small":32}`, "", "32 does not fit 5 bits"},
		{"mixtures", "1", `{"below":8}`, "", "8 does not fit 4 bits"},
		{"mixtures", "1", `{"below":-9}`, "", "-9 does not fit 4 bits"},
		{"mixtures", "1", `{"flag":[1]}`, "", "is no value of 1 bits"},
		{"mixtures", "1", `{"named":{"high":1}}`, "", `no member "high"; it has half, low`},
		{"each", "1", "5", "", "one value for each processor"},
		{"prefixes", `{"bits":16,"of":[10,1]}`, "5", `{"bits":16,"of":[10,1,0,0]}`, "5"},
		{"prefixes", `{"bits":33,"of":[10,1]}`, "5", "", "one of an LPM trie begins with a number of bits"},
		{"ring", "1", "5", "", "has no entries"},
		{"nosuch", "1", "5", "", "the module has accounts, colors, each, mixtures, prefixes, ring, untyped"},
		{".bss", "0", "5", "", "no such map"},
		{"accounts", "x", "{}", "", "that of task storage is a tid"},
		{"accounts", "999999999", "{}", "", "no such"},
		{"accounts", "999999999999", "{}", "", "that of task storage is a tid"},
	} {
		err := m.UpdateMap(c.name, c.key, c.value)
		if c.wantKey == "" {
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
				t.Errorf("%s %s = %s: %v, want %q", c.name, c.key, c.value, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s = %s: %v", c.name, c.key, c.value, err)
			continue
		}
		e, err := m.LookupMap(c.name, c.key)
		if key, value := show(e.Key), show(e.Value); err != nil || key != c.wantKey || value != c.want {
			t.Errorf("%s %s: %s = %s, %v, want %s = %s", c.name, c.key, key, value, err, c.wantKey, c.want)
		}
		if err := m.DeleteMapEntry(c.name, c.key); err != nil {
			t.Error(err)
		}
		if _, err := m.LookupMap(c.name, c.key); !errors.Is(err, module.ErrNoEntry) {
			t.Errorf("%s %s was deleted: %v", c.name, c.key, err)
		}
	}
	for i := range 5 {
		err := m.UpdateMap("colors", fmt.Sprintf(`{"a":%d}`, i), "RED")
		if full := i == 4; full != errors.Is(err, unix.E2BIG) || !full && err != nil {
			t.Errorf("entry %d of 4: %v", i, err)
		}
	}
	if err := m.DeleteMapEntry("each", "1"); !errors.Is(err, module.ErrFixed) {
		t.Errorf("an array's entry is deleted: %v", err)
	}
}

// A map with more entries than are read says so.
func TestMapsAreReadInBounds(t *testing.T) {
	support(t)
	m := loadFile(t, "maps", mapsC)
	for i := range module.MaxMapEntries + 1 {
		if err := m.UpdateMap("untyped", fmt.Sprintf("0x%08x", i), "0x00000000"); err != nil {
			t.Fatal(err)
		}
		if i < module.MaxMapEntries-1 {
			continue
		}
		entries, err := m.ReadMap("untyped")
		if want := min(i+1, module.MaxMapEntries); err != nil || len(entries.List) != want || entries.More != (i+1 > want) {
			t.Errorf("of %d entries %d were read, more: %v; %v", i+1, len(entries.List), entries.More, err)
		}
	}
}

// Task storage is read and written by tid, and holds what the module has counted.
func TestTaskStorageFromOutside(t *testing.T) {
	support(t)
	table := newTable(t, Config{})
	m := loadFile(t, "maps", mapsC)
	register(t, table, m)
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	tid := fmt.Sprint(cmd.Process.Pid)
	eventually(t, "the exec is counted", 1, func() uint64 { // a little after Start has returned
		if _, err := m.LookupMap("accounts", tid); err != nil {
			return 0
		}
		return 1
	})
	const counted = `{"execs":1,"list":[0,0],"name":""}`
	if e, err := m.LookupMap("accounts", tid); err != nil || show(e.Value) != counted || show(e.Key) != tid {
		t.Errorf("%s = %s, %v, want %s", show(e.Key), show(e.Value), err, counted)
	}
	if err := m.UpdateMap("accounts", tid, `{"execs":7,"name":"abc","list":[1,-2]}`); err != nil {
		t.Fatal(err)
	}
	entries, err := m.ReadMap("accounts")
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, e := range entries.List {
		if show(e.Key) == tid {
			found = show(e.Value)
		}
	}
	if want := `{"execs":7,"list":[1,-2],"name":"abc"}`; found != want {
		t.Errorf("among %d entries %q, want %q", len(entries.List), found, want)
	}
	if err := m.DeleteMapEntry("accounts", tid); err != nil {
		t.Error(err)
	}
	if _, err := m.LookupMap("accounts", tid); !errors.Is(err, module.ErrNoEntry) {
		t.Errorf("it was deleted: %v", err)
	}

	// A thread that is not the first of its process has a value of its own.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self := fmt.Sprint(unix.Gettid())
	err = m.UpdateMap("accounts", self, `{"execs":9}`)
	if errors.Is(err, module.ErrUnreadable) && unix.Gettid() != os.Getpid() {
		return // Linux < 6.9
	}
	if err != nil {
		t.Fatal(err)
	}
	if e, err := m.LookupMap("accounts", self); err != nil || !strings.Contains(show(e.Value), `"execs":9`) {
		t.Errorf("a thread: %s, %v", show(e.Value), err)
	}
	each, err := m.ReadMap("each")
	if err != nil || len(each.List) != 2 || !strings.HasPrefix(show(each.List[1].Value), "[") {
		t.Errorf("%+v, %v", each, err)
	}
}
