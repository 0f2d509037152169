package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// What the header's functions say of a task is what /proc says of it, and a
// function of the kernel that is not there is left out.
func TestFacts(t *testing.T) {
	testutil.Root(t)
	const group = 34595
	m := loadFile(t, "facts", "testdata/modules/facts.c", param("gid", group))
	register(t, newTable(t, Config{}), m)

	terminal, name := openTerminal(t)
	cmd := exec.Command("sh", "-c", "echo 4711 2>/dev/null >/proc/self/loginuid; for f in loginuid sessionid; do cat /proc/self/$f; echo; done; readlink /proc/$$/exe; exec sh -c :")
	cmd.Stdin = terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: group}, Setsid: true, Setctty: true}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Fields(string(out)) // without CONFIG_AUDIT only the last
	auid, session := "4294967295", "4294967295"
	if len(said) == 3 {
		auid, session = said[0], said[1]
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	globals, err := m.Globals()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range globals {
		got[g.Name] = fmt.Sprint(g.Value)
	}
	locked := "0"
	if met := testutil.NeedsKernel(6, 2).Met; met() {
		locked = "1"
	}
	for name, want := range map[string]string{
		"auid": auid, "sessionid": session, "sid": strconv.Itoa(cmd.Process.Pid), "cgroup_id": cgroupID(t),
		"tty": name, "tty_begin": name[:min(len(name), 7)], "text": "number 4711", "locked": locked,
		"exe": said[len(said)-1], "parent_exe": self,
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if got["execs"] == "0" {
		t.Error("the module saw no exec")
	}
}

// openTerminal opens a terminal that has no session yet, and returns its name.
func openTerminal(t *testing.T) (*os.File, string) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("pts/%d", n)
	terminal, err := os.OpenFile("/dev/"+name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal, name
}

// cgroupID returns the inode of this process's cgroup v2.
func cgroupID(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if f[2] != "cgroup2" {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				var st unix.Stat_t
				if err := unix.Stat(filepath.Join(f[1], path), &st); err != nil {
					t.Fatal(err)
				}
				return fmt.Sprint(st.Ino)
			}
		}
	}
	return "1" // the root's, where it is not mounted
}
