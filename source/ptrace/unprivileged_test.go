package ptrace

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	"github.com/taskwatch/taskwatch/source"
)

// nobody is a user without any privilege.
const nobody = 65534

// TestUnprivileged runs the tests below as nobody if root runs this one; the
// files they need are made while that is possible.
func TestUnprivileged(t *testing.T) {
	if os.Getenv("TASKWATCH_TEST_SETUID") != "" {
		t.Run("setuid", testSetuidFile)
		return
	}
	testutil.Root(t)
	dir, err := os.MkdirTemp("", "taskwatch-unprivileged")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self := filepath.Join(dir, "test")
	setuid := filepath.Join(dir, "setuid")
	copyFile(t, self, "/proc/self/exe", 0o755)
	copyFile(t, setuid, "/bin/true", 0o755|os.ModeSetuid)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	asNobody := func(t *testing.T, tests string) {
		t.Helper()
		cmd := exec.Command(self, "-test.run", tests, "-test.v", "-test.short")
		cmd.Env = append(os.Environ(), "TASKWATCH_TEST_SETUID="+setuid, "TMPDIR="+dir, "HOME="+dir, "TASKWATCH_SKIPS=")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: Test") {
			t.Errorf("as uid %d, %s: %v\n%s", nobody, tests, err, out)
		}
	}
	asNobody(t, "^TestUnprivileged$")
	if err := os.Mkdir(filepath.Join(dir, "gains"), 0o755); err != nil {
		t.Fatal(err)
	}
	watchtest.MakeGains(t, filepath.Join(dir, "gains"))
	asNobody(t, "^TestGainsUnderAnOrdinaryTracer$")
	// These compile C programs in there, as nobody.
	t.Run("C", func(t *testing.T) {
		testutil.Require(t, testutil.NeedsCompiler("gcc"))
		asNobody(t, "^(TestVetoNames|TestVetoRaces|TestTracerIsLeftAlone|TestUntraced)$")
		asNobody(t, "^TestConformance$/^(true|fork|exec|thread|vfork|script-asked|untraced|untraced-asked|nodump|nodump-asked|closed|own-filter|siblings)$")
	})
}

// A setuid file runs with its caller's ids, and the user is told.
func testSetuidFile(t *testing.T) {
	tr := watch(t, Config{Command: &source.Command{Path: os.Getenv("TASKWATCH_TEST_SETUID")}})
	if tr.err != nil || tr.source.Exit().Code != 0 {
		t.Fatal(tr.err, tr.source.Exit())
	}
	if len(tr.notices) != 1 || !strings.Contains(tr.notices[0], "with the ids of its caller") {
		t.Errorf("notices %q; want one about the setuid file", tr.notices)
	}
	for _, ev := range tr.events {
		if ev.Task.UID != [4]uint32{nobody, nobody, nobody, nobody} {
			t.Errorf("%s event with uid %v, want %d throughout", ev.Kind, ev.Task.UID, nobody)
		}
	}
}

func copyFile(t *testing.T, to, from string, mode os.FileMode) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Chmod(mode); err != nil {
		t.Fatal(err)
	}
}
