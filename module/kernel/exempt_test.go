package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Of a module that denies all forks to everybody, nobody suffers who can unload
// it: the owner of the table, root with the owner's program, and a process that
// was exempted.
func TestExempt(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	quietKernel(t)
	tryfork := testutil.BuildC(t, "-static", "testdata/tryfork.c")
	client, _ := testutil.Hold(t, exec.Command(tryfork))
	other, _ := testutil.Hold(t, exec.Command(tryfork))
	tryFork := func() string {
		t.Helper()
		return ask(t, client, "try")
	}
	if got := tryFork(); got != "0" {
		t.Fatalf("before the module: errno %s", got)
	}
	owner := startHolder(t, "testdata/modules/denyall.c", param("spare", os.Getpid()))
	for _, what := range []string{"threads", "exempt " + fmt.Sprint(client.Process.Pid)} {
		if got := ask(t, owner, what); got != "ok" {
			t.Errorf("the owner, asked for %s: %q", what, got)
		}
	}
	if got := tryFork(); got != "0" {
		t.Errorf("an exempt process: errno %s", got)
	}
	if got := ask(t, owner, "release"); got != "ok" {
		t.Errorf("the owner, asked for release: %q", got)
	}
	if got := tryFork(); got != "1" {
		t.Errorf("a process that is exempt no longer: errno %s, want EPERM", got)
	}
	if got := ask(t, other, "try"); got != "1" {
		t.Errorf("a process that never was: errno %s, want EPERM", got)
	}
	threads := func(uid uint32) ([]byte, error) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), holderEnv+"=threads")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return cmd.CombinedOutput()
	}
	if out, err := threads(0); err != nil {
		t.Errorf("root with the owner's program: %v\n%s", err, out)
	}
	if out, err := threads(12345); err == nil || !strings.Contains(string(out), "newosproc") {
		t.Errorf("another user with the owner's program: %v, want that it cannot make a thread\n%s", err, out)
	}
	if got := ask(t, owner, "unload"); got != "ok" {
		t.Errorf("the owner, asked to unload: %q", got)
	}
	if got := tryFork(); got != "0" {
		t.Errorf("after the module: errno %s", got)
	}
}

// A process that was exempted stays so while others are preempted in the middle of being
// looked for among those that are exempt.
func TestExemptAmongPreempted(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	testutil.PreemptAll(t)
	client, _ := testutil.Hold(t, exec.Command(testutil.BuildC(t, "-static", "testdata/tryfork.c")))
	attack := exec.Command(testutil.BuildC(t, "-static", "testdata/attack.c"), "fork", "6", "600000")
	attack.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := attack.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		syscall.Kill(-attack.Process.Pid, syscall.SIGKILL)
		attack.Wait()
	}()
	owner := startHolder(t, "testdata/modules/denyall.c", param("spare", os.Getpid()))
	if got := ask(t, owner, "exempt "+fmt.Sprint(client.Process.Pid)); got != "ok" {
		t.Fatalf("the owner, asked for exempt: %q", got)
	}
	for n := range testutil.Size(300, 2000, 20000) {
		if got := ask(t, client, "try"); got != "0" {
			t.Fatalf("fork %d of an exempt process: errno %s", n, got)
		}
	}
	if got := ask(t, owner, "unload"); got != "ok" {
		t.Errorf("the owner, asked to unload: %q", got)
	}
}

// ask writes a line to a process and reads its answer.
func ask(t testing.TB, h *testutil.Held, what string) string {
	t.Helper()
	if _, err := fmt.Fprintln(h.In, what); err != nil {
		t.Fatal(err)
	}
	line, err := h.Out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s, asked for %s, said %q: %v", h, what, line, err)
	}
	return strings.TrimSpace(line)
}
