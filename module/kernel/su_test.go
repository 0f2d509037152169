package kernel

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/probe"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// needsSu is met where the test may configure su and sudo.
var needsSu = testutil.Need{
	What:   "a machine of the test's own, with Debian's su and sudo",
	Remedy: "run the test in a VM: vmtest -with util-linux,sudo",
	Met: func() bool {
		_, su := os.Stat("/etc/pam.d/su") // busybox's own su has none
		_, sudo := os.Stat(sudoFile)
		return os.Getenv("TASKWATCH_VM") != "" && su == nil && sudo == nil
	},
}

const (
	suFile   = "/bin/su"
	sudoFile = "/usr/bin/sudo"
	nobody   = 65534
)

// asUser is a way to run a command as somebody else.
type asUser struct {
	name string
	by   uint32 // the id of the caller
	argv []string
	says string // by id -u
}

// waysToUser returns the ways, by root to nobody and by nobody to root. The
// command is dir/busybox, which is for execguard to name.
func waysToUser(dir string) []asUser {
	id := filepath.Join(dir, "busybox") + " id -u"
	return []asUser{
		{"su by root", 0, []string{suFile, "-s", "/bin/sh", "nobody", "-c", id}, "65534\n"},
		{"su by a user", nobody, []string{suFile, "-s", "/bin/sh", "root", "-c", id}, "0\n"},
		{"sudo by root", 0, []string{sudoFile, "-n", "-u", "nobody", "sh", "-c", id}, "65534\n"},
		{"sudo by a user", nobody, []string{sudoFile, "-n", "sh", "-c", id}, "0\n"},
	}
}

// run returns what the command has written. Its shell is the one that executes
// the set-id file, under the name sh.
func (w asUser) run() (out, said string, err error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", `exec "$0" "$@"`}, w.argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: w.by, Gid: w.by}}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

func (w asUser) wantDone(t *testing.T) {
	t.Helper()
	if out, said, err := w.run(); out != w.says || err != nil {
		t.Fatalf("%s: %q, %v: %s; want %q", w.name, out, err, said, w.says)
	}
}

func (w asUser) wantDenied(t *testing.T) {
	t.Helper()
	out, said, err := w.run()
	if out != "" || err == nil {
		t.Errorf("%s was not denied: %q, %v: %s", w.name, out, err, said)
	}
	t.Logf("%s: %v: %s", w.name, err, said)
}

// su and sudo, run by root or through their set-id bits, fail where a module
// denies the change of ids that they are for, or the program that they run: none
// of them goes on with the ids that it has. After the module they work.
func TestSuAndSudo(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto, needsSu)
	quietKernel(t)
	dir := configureSu(t)
	ways := waysToUser(dir)
	names, supports := tiers(t)
	for i, s := range supports {
		if s.LSM != nil && s.ModifyReturn != nil {
			continue
		}
		s.Preemption = Preemption(probe.Preemption())
		t.Run(names[i], func(t *testing.T) {
			table := newTable(t, Config{Support: s})
			for _, c := range []struct {
				name   string
				module string
				params []string
				denies []string
			}{
				{"uid of su", vetoC, []string{"comm=su", "on_uid=y"}, []string{"su by root", "su by a user"}},
				{"gid of su", vetoC, []string{"comm=su", "on_gid=y"}, []string{"su by root", "su by a user"}},
				{"uid of sudo", vetoC, []string{"comm=sudo", "on_uid=y"}, []string{"sudo by root", "sudo by a user"}},
				{"gid of sudo", vetoC, []string{"comm=sudo", "on_gid=y"}, []string{"sudo by root", "sudo by a user"}},
				// What the exec of the set-id file changes.
				{"uid of the caller", vetoC, []string{"comm=sh", "on_uid=y"}, []string{"su by a user", "sudo by a user"}},
				{"exec of su", execguardC, []string{"prefix=" + suFile}, []string{"su by root", "su by a user"}},
				{"exec of sudo", execguardC, []string{"prefix=" + sudoFile}, []string{"sudo by root", "sudo by a user"}},
				{"exec of the command", execguardC, []string{"prefix=" + dir + "/"}, []string{"su by root", "su by a user", "sudo by root", "sudo by a user"}},
			} {
				t.Run(c.name, func(t *testing.T) {
					m := loadFile(t, "guard", c.module, c.params...)
					register(t, table, m)
					denied := map[string]bool{}
					for _, name := range c.denies {
						denied[name] = true
					}
					for _, way := range ways {
						if !denied[way.name] {
							way.wantDone(t)
							continue
						}
						before := global(t, m, "refused")
						way.wantDenied(t)
						if global(t, m, "refused") == before {
							t.Errorf("%s failed, and the module has denied nothing", way.name)
						}
					}
					if err := table.Unregister(m); err != nil {
						t.Fatal(err)
					}
				})
			}
			for _, way := range ways {
				way.wantDone(t)
			}
		})
	}
}

// configureSu lets everybody become everybody, as no package's script has done
// anything here, and returns the directory of the command.
func configureSu(t *testing.T) string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const permit = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\nsession sufficient pam_permit.so\n"
	for name, text := range map[string]string{
		"/etc/pam.d/su": permit, "/etc/pam.d/sudo": permit, "/etc/sudoers": "ALL ALL=(ALL:ALL) NOPASSWD: ALL\n",
	} {
		must(os.WriteFile(name, []byte(text), 0o600))
		must(os.Chmod(name, 0o440))
	}
	for _, name := range []string{suFile, sudoFile} {
		must(os.Chmod(name, os.ModeSetuid|0o755)) // the bit is not unpacked
	}
	dir := t.TempDir()
	must(os.Chmod(dir, 0o755))
	must(os.Chmod(filepath.Dir(dir), 0o755))
	dir, err := filepath.EvalSymlinks(dir)
	must(err)
	busybox, err := os.ReadFile("/bin/busybox")
	must(err)
	must(os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o755))
	for _, way := range waysToUser(dir) {
		way.wantDone(t)
	}
	return dir
}
