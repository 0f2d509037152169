package kernel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel/build"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func compile(t testing.TB, src string) []byte {
	t.Helper()
	if dir := os.Getenv("TASKWATCH_MODULES"); dir != "" {
		b, err := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(filepath.Base(src), ".c")+".o"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	out := filepath.Join(t.TempDir(), "out.o")
	if _, err := build.Build(context.Background(), src, out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFirst(t *testing.T) {
	o, err := Parse("count", compile(t, "testdata/modules/count.c"))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(o.Params(), o.Kinds(), o.Maps())
	m, err := o.Load(LoadOptions{Params: map[string]string{"pid": fmt.Sprint(os.Getpid())}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := Probe()
	t.Log(s, err)
	t0 := time.Now()
	tab, err := NewTable(Config{Support: s})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	t1 := time.Now()
	err = tab.Register(m, RegisterOptions{})
	t.Log(t1.Sub(t0), time.Since(t1))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		exec.Command("/bin/true").Run()
	}
	exec.Command("/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/bin/true").Run()
	time.Sleep(100 * time.Millisecond)
	g, err := m.Globals()
	for _, g := range g {
		t.Log(g)
	}
	t1 = time.Now()
	err = tab.Unregister(m)
	t.Log(time.Since(t1), err)
}

func TestVM(t *testing.T) {
	s, err := Probe()
	t.Log(s, err)
	for k, e := range s.Events() {
		t.Log(k, e)
	}
	tab, err := NewTable(Config{Support: s})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	for _, n := range []string{"../../modules/twbench", "../../modules/acct", "../../modules/forkguard", "../../modules/execguard", "testdata/modules/count", "testdata/modules/veto"} {
		o, err := Parse(filepath.Base(n), compile(t, n+".c"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := o.Load(LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := tab.Register(m, RegisterOptions{AllowObserveOnly: true}); err != nil {
			t.Error(err)
		}
		defer tab.Unregister(m)
	}
}
