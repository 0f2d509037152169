package modules

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// A file whose capabilities would make its user root is not run where a module
// denies that, and the user stays what he is; where a module denies the change of
// ids, the capability does not help.
func TestFileCapabilities(t *testing.T) {
	testutil.Require(t, testutil.NeedsRoot, needsRefusals)
	program := testutil.BuildC(t, "-static", "testdata/filecaps.c")
	file := filepath.Join(t.TempDir(), "capable")
	for _, dir := range []string{filepath.Dir(file), filepath.Dir(filepath.Dir(file))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o755); err != nil {
		t.Fatal(err)
	}
	testutil.SetFileCaps(t, file, 1<<unix.CAP_SETUID)
	try := func(t *testing.T, want string) {
		t.Helper()
		out, err := exec.Command(program, file).CombinedOutput()
		if got := strings.TrimSpace(string(out)); got != want || err != nil {
			t.Errorf("got %s, %v; want %s", out, err, want)
		}
	}
	const (
		free   = "exec=0 permitted=80 uid=0 is=0"
		denied = "permitted=0 uid=1 is=1000" // it may not, without the capability
	)
	try(t, free)
	const execguardC = "../../modules/execguard/execguard.c"
	for _, tier := range tiers(t) {
		if !tier.denies() {
			continue
		}
		t.Run(tier.name, func(t *testing.T) {
			table := tableOf(t, tier)
			for _, c := range []struct{ name, source, params, want string }{
				{"exec", vetoC, "comm=twvetoed on_exec=y errno=95", "exec=95 " + denied},
				{"path", execguardC, "prefix=" + file, "exec=13 " + denied},
				{"uid", vetoC, "comm=twvetoed on_uid=y errno=95", "exec=0 permitted=80 uid=95 is=1000"},
				{"gid", vetoC, "comm=twvetoed on_gid=y errno=95", free},
			} {
				t.Run(c.name, func(t *testing.T) {
					params, err := module.ParseParams(strings.Fields(c.params))
					if err != nil {
						t.Fatal(err)
					}
					m := register(t, table, "guard", testmodule.Object(t, c.source),
						kernel.LoadOptions{Params: params}, kernel.RegisterOptions{AllowBestEffort: true})
					try(t, c.want)
					globals, err := m.Globals()
					if err != nil {
						t.Fatal(err)
					}
					for _, g := range globals {
						if want := uint64(1); g.Name == "refused" && g.Value != want && c.want != free {
							t.Errorf("%v refused, want %d", g.Value, want)
						}
					}
				})
				try(t, free)
			}
		})
	}
}
