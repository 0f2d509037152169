package modules

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// What a module keeps of tasks and processes is read, set and deleted from outside by the
// same words, whether it runs in the kernel, in the sandbox, or is written in Go.
func TestStorageFromOutside(t *testing.T) {
	testutil.Root(t)
	const src = "testdata/modules/kept.c"
	sandboxed := func(t *testing.T, code []byte, params map[string]string) (host.MapAccess, func() seen) {
		var live taskwatch.Registry
		m := loadSandboxedCode(t, &live, code, params)
		watchOurselves(t, &live)
		return m, func() seen {
			g, err := m.Globals(t.Context())
			return seenIn(t, g, err)
		}
	}
	for i, way := range []struct {
		name string
		load func(t *testing.T, params map[string]string) (host.MapAccess, func() seen)
	}{
		{"kernel", func(t *testing.T, params map[string]string) (host.MapAccess, func() seen) {
			var live taskwatch.Registry
			m := register(t, watchOurselves(t, &live).Table(), "kept", testmodule.Object(t, src), kernel.LoadOptions{Params: params}, kernel.RegisterOptions{})
			return m, func() seen {
				g, err := m.Globals()
				return seenIn(t, g, err)
			}
		}},
		{"sandbox", func(t *testing.T, params map[string]string) (host.MapAccess, func() seen) {
			return sandboxed(t, testmodule.Wasm(t, src), params)
		}},
		{"go", func(t *testing.T, params map[string]string) (host.MapAccess, func() seen) {
			testutil.Require(t, testutil.NeedsTime) // an emulated machine compiles it for half a minute
			return sandboxed(t, testmodule.Wasm(t, "testdata/modules/kept.go"), params)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			group := 34564 + i // nobody else has it
			m, globals := way.load(t, map[string]string{"gid": fmt.Sprint(group)})
			keptFromOutside(t, m, globals, group)
		})
	}
}

func keptFromOutside(t *testing.T, m host.MapAccess, globals func() seen, group int) {
	cmd := exec.Command("sh", "-c", "echo up; read line")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: uint32(group)}}
	held, _ := testutil.Hold(t, cmd)
	pid, own := fmt.Sprint(held.Process.Pid), fmt.Sprint(os.Getpid())
	get := func(name, key string) string {
		e, err := m.LookupMap(name, key)
		if errors.Is(err, module.ErrNoEntry) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		return inJSON(t, e.Key) + " = " + inJSON(t, e.Value)
	}
	has := func(name, key, want string) {
		t.Helper()
		if want != "" {
			want = key + " = " + want
		}
		got := get(name, key)
		for end := time.Now().Add(time.Minute); got != want && time.Now().Before(end); { // events come later
			time.Sleep(time.Millisecond)
			got = get(name, key)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	done := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"lines", "accounts"} {
		has(name, pid, `{"execs":1,"list":[0,0],"on":false}`)
		has(name, own, "")
		done(m.UpdateMap(name, pid, `{"on":true,"execs":7,"list":[-1,2]}`))
		has(name, pid, `{"execs":7,"list":[-1,2],"on":true}`)
		done(m.UpdateMap(name, pid, `{"execs":"0x64"}`))
		has(name, pid, `{"execs":100,"list":[0,0],"on":false}`)
		done(m.UpdateMap(name, own, `{"list":[5]}`)) // where there was none
		has(name, own, `{"execs":0,"list":[5,0],"on":false}`)
		all, err := m.ReadMap(name)
		done(err)
		found := map[string]string{}
		for _, e := range all.List {
			found[inJSON(t, e.Key)] = inJSON(t, e.Value)
		}
		if all.More || found[pid] != `{"execs":100,"list":[0,0],"on":false}` || found[own] != `{"execs":0,"list":[5,0],"on":false}` {
			t.Errorf("%s has %v, and more: %v", name, found, all.More)
		}
		done(m.DeleteMapEntry(name, own))
		has(name, own, "")
		for _, c := range []struct {
			of   string
			err  error
			is   error
			says string
		}{
			{"a value is deleted that is not there", m.DeleteMapEntry(name, own), module.ErrNoEntry, own},
			{"a word for a key", m.UpdateMap(name, "x", "{}"), module.ErrBadEntry, "the key"},
			{"a negative key", m.DeleteMapEntry(name, "-1"), module.ErrBadEntry, "the key"},
			{"too many elements", m.UpdateMap(name, pid, `{"list":[1,2,3]}`), module.ErrBadEntry, "member list: 3 values for "},
			{"a large number", m.UpdateMap(name, pid, `{"list":[2147483648]}`), module.ErrBadEntry, "want a number from -2147483648 to 2147483647"},
			{"a member that is not there", m.UpdateMap(name, pid, `{"exec":1}`), module.ErrBadEntry, `struct account has no member "exec"; it has execs, list, on`},
			{"a number for a struct", m.UpdateMap(name, pid, "1"), module.ErrBadEntry, "1 is no value of type struct account"},
			{"half a value", m.UpdateMap(name, pid, `{"execs":1`), module.ErrBadEntry, `is no valid JSON, and no value of type struct account`},
			{"a map that is not there", m.UpdateMap("nosuch", pid, "1"), module.ErrNoMap, "the module has accounts, "},
		} {
			if !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.says) || !strings.Contains(c.err.Error(), "use map ") {
				t.Errorf("%s: %s: %v, want %q", name, c.of, c.err, c.says)
			}
		}
		has(name, pid, `{"execs":100,"list":[0,0],"on":false}`)
	}
	if _, err := held.In.Write([]byte("\n")); err != nil {
		t.Error(err)
	}
	held.Release(t)
	hasSeen(t, "behind what was set", seen{"tasks": uint64(100), "processes": uint64(100)}, globals)
	for _, name := range []string{"lines", "accounts"} {
		has(name, pid, "")
	}
	if _, err := m.LookupMap("lines", pid); !errors.Is(err, module.ErrNoEntry) || !strings.Contains(err.Error(), "task "+pid) || !strings.Contains(err.Error(), "there is no such task") {
		t.Errorf("a task that is gone: %v", err)
	}
}

func inJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
