package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	stock "github.com/taskwatch/taskwatch/modules"
)

func twIn(t *testing.T, dir string, args ...string) result {
	t.Helper()
	c := cmd(t, args...)
	c.Dir = dir
	return finish(t, c)
}

// The names of stock modules stand for files in every command, without a
// compiler, unless there is a file of that name.
func TestStockModulesByName(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := t.TempDir()
	tw := func(args ...string) result { return twIn(t, dir, args...) }
	r := tw("module", "list", "-f", "json")
	var list []listedStock
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || r.status != 0 || len(list) != len(stock.All()) {
		t.Fatalf("module list: %+v, %v", r, err)
	}
	for _, m := range list {
		for _, command := range [][]string{{"module", "info"}, {"modinfo", "--socket", "nosuch"}} {
			r := tw(append(command, m.Name)...)
			switch {
			case m.Built && (r.status != 0 || !strings.Contains(r.stdout, "description:   "+m.Description+"\n") || !strings.Contains(r.stdout, "name:          "+m.Name+"\n") || !strings.Contains(r.stdout, "kind:          "+m.Kind+"\n")):
				t.Errorf("%v %s: %+v", command, m.Name, r)
			case !m.Built && (r.status != 1 || !strings.Contains(r.stderr, "module new --from "+m.Name)):
				t.Errorf("%v %s, which has to be built: %+v", command, m.Name, r)
			}
		}
	}
	if r := tw("run", "--source", "ptrace", "-o", os.DevNull, "--globals", "--allow-observe-only", "-m", "execrule,program=/bin/false", "--", "/bin/true"); r.status != 0 || !strings.Contains(r.stderr, "execrule: asked = ") {
		t.Errorf("run -m execrule: %+v", r)
	}
	if r := tw("module", "info", "nosuch"); r.status != 1 || !strings.Contains(r.stderr, "taskwatch module list") {
		t.Errorf("a name that nobody has: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(dir, "acct"), []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := tw("module", "info", "acct"); r.status != 1 || strings.Contains(r.stdout, "name:") {
		t.Errorf("a file that is called like a stock module does not go before it: %+v", r)
	}
}

func TestModuleNewFromStock(t *testing.T) {
	dir := t.TempDir()
	tw := func(args ...string) result { return twIn(t, dir, args...) }
	for _, m := range stock.All() {
		file, source := m.Source()
		if r := tw("module", "new", "--from", m.Name); r.status != 0 || !strings.Contains(r.stdout, "module build "+file) {
			t.Fatalf("module new --from %s: %+v", m.Name, r)
		}
		if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != string(source) {
			t.Errorf("the copy of %s is another (%v)", m.Name, err)
		}
		if r := tw("module", "new", "--from", m.Name); r.status != 1 || !strings.Contains(r.stderr, "exist") {
			t.Errorf("over a file that is there: %+v", r)
		}
		if r := tw("module", "new", "--from", m.Name, "my"+filepath.Ext(file)); r.status != 0 {
			t.Errorf("to another name: %+v", r)
		}
		if err := os.Remove(filepath.Join(dir, "my"+filepath.Ext(file))); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--from", "nosuch"}, "no such stock module"},
		{[]string{"--from", "acct", "acct.go"}, "another language"},
		{[]string{"--from", "acct", "a/b.c"}, "no such file or directory"},
		{[]string{"--from", "acct", dir}, "it is a directory; name a file in it: " + filepath.Join(dir, "acct.c")},
	} {
		if r := tw(append([]string{"module", "new"}, c.args...)...); r.status != 1 || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%v: %+v, want %q", c.args, r, c.says)
		}
	}
}

// The daemon's configuration takes the names as well.
func TestServeStockModule(t *testing.T) {
	testutil.Root(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "taskwatch.toml")
	if err := os.WriteFile(config, []byte("[[module]]\nfile = \"acct\"\nname = \"users\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, filepath.Join(dir, "s"), nil, "--config", config)
	eventually(t, "the module is loaded", func() bool { return strings.Contains(s.must(t, "lsmod"), "users") })
	s.must(t, "insmod", "twbench")
	if out := s.must(t, "modinfo", "users"); !strings.Contains(out, "counts and CPU time per user") {
		t.Errorf("modinfo: %s", out)
	}
}

// Where a module cannot be loaded, that alone is said, and not what its file lacks.
func TestAuditFileOfAModuleThatFails(t *testing.T) {
	testutil.Root(t)
	file := filepath.Join(t.TempDir(), "x.audit")
	for _, args := range [][]string{
		{"watch"},
		{"run", "--source", "bpf", "--", "true"},
		{"run", "--source", "bpf", "-p", fmt.Sprint(os.Getpid())},
	} {
		args = slices.Insert(args, 1, "-m", "auditrec,auid=nobody", "-o", file)
		if r := tw(t, args...); r.status == 0 || !strings.Contains(r.stderr, "auid=nobody") || strings.Contains(r.stderr, "no audit records") {
			t.Errorf("%q: %+v", args, r)
		}
	}
}
