package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Where a change of ids is observed, tsk is the program that has the new ids, and
// the system call is known, whatever the cause and the kernel.
func TestChangeOfIDs(t *testing.T) {
	s := support(t)
	if s.FEntry != nil && s.PrepareExec != nil {
		testutil.NeedsKernel(6, 10).Skip(t, s.PrepareExec.Error())
	}
	const user = 34587
	dir := t.TempDir()
	path := testutil.BuildC(t, "-static", "testdata/driver.c")
	driver, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	setuid := filepath.Join(dir, "setuid")
	if err := os.WriteFile(setuid, driver, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(setuid, user, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(setuid, 0o4755); err != nil {
		t.Fatal(err)
	}
	m := loadFile(t, "setid", "testdata/modules/setid.c", param("parent", os.Getpid()))
	register(t, newTable(t, Config{}), m)
	if err := exec.Command(setuid, "exit").Run(); err != nil {
		t.Fatal(err)
	}
	known := func() string {
		values := map[string]any{}
		globals, err := m.Globals()
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range globals {
			values[g.Name] = g.Value
		}
		return fmt.Sprint(values["calls"], values["cause"], values["was"], values["is"], values["number"], values["exe"])
	}
	const ofSyscall, ofExec = 1, 2 // TASK_CAUSE_* of the header
	if got, want := known(), fmt.Sprint(1, ofExec, 0, user, unix.SYS_EXECVE, setuid); got != want {
		t.Errorf("after an exec of a set-uid file it knows\n%s\nwant\n%s", got, want)
	}
	cmd := exec.Command("/proc/self/fd/3", "exit") // of a directory that the user cannot enter
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, NoSetGroups: true}}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if got, want := known(), fmt.Sprint(2, ofSyscall, 0, user, unix.SYS_SETUID, self); got != want {
		t.Errorf("after a setuid it knows\n%s\nwant\n%s", got, want)
	}
}
