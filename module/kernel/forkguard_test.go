package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

const forkguardC = "../../modules/forkguard/forkguard.c"

// bomb is testdata/bomb.c, run by a user.
func bomb(t *testing.T, user uint32, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(testutil.BuildC(t, "-static", "testdata/bomb.c"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return cmd
}

func explode(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %s, %v", cmd, out, err)
	}
	return strings.TrimSpace(string(out))
}

// contained returns how many forks of a bomb were denied whose user may have 40 tasks:
// it is one of these itself. More than 39 are those that the kernel has skipped.
func contained(t *testing.T, name, said string) (denied uint64, more int) {
	t.Helper()
	var forks, refused, errno int
	if _, err := fmt.Sscanf(said, "%d forks, %d refused with errno %d", &forks, &refused, &errno); err != nil {
		t.Fatalf("bomb %s: %q: %v", name, said, err)
	}
	if forks < 39 || forks+refused != 100 || errno != int(syscall.EAGAIN) {
		t.Errorf("bomb %s: %s; want 39 forks, and 61 refused with errno %d", name, said, syscall.EAGAIN)
	}
	return uint64(refused), forks - 39
}

// skippedAtMost checks that no more forks got through than are known to have been
// skipped: of none on the tier of LSM.
func skippedAtMost(t *testing.T, table *Table, m *Module, more int) {
	t.Helper()
	if info := moduleInfo(t, table, m); more > 0 && uint64(more) > info.Skipped {
		t.Errorf("%d forks too many, and %d are known to have been skipped (%s)", more, info.Skipped, info.Tier)
	}
}

// forkguard keeps a fork bomb of one user within its limit, whatever way it makes its
// tasks, also in namespaces, where the kernel counts anew.
func TestForkguard(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	quietKernel(t)
	const user = 34590
	table := newTable(t, Config{})
	m := loadFile(t, "forkguard", forkguardC, "limit=40", param("uid", user))
	register(t, table, m)
	bombs := map[string]func() string{"ids": func() string { return bombOfIDs(t, user) }}
	for _, args := range []string{"100", "100 0", "100 30", "100 39", "100 -1 thread", "100 -1 deeper", "100 -1 apart", "100 -1 pids"} {
		bombs[args] = func() string { return explode(t, bomb(t, user, strings.Fields(args)...)) }
	}
	if os.Getenv("TASKWATCH_VM") != "" {
		bombs["cgroup"] = func() string { return bombInCgroup(t, user) }
	}
	denied, more := uint64(0), 0
	for name, run := range bombs {
		n, skipped := contained(t, name, run())
		denied, more = denied+n, more+skipped
		if got := global(t, m, "refused"); got != denied {
			t.Errorf("bomb %s: %d denials are counted, and there were %d", name, got, denied)
		}
	}
	skippedAtMost(t, table, m, more)
	storm := explode(t, bomb(t, user, "800", "-1", "storm"))
	var forks, refused, errno, most int
	if _, err := fmt.Sscanf(storm, "%d forks, %d refused with errno %d, %d at once", &forks, &refused, &errno, &most); err != nil {
		t.Fatalf("%q: %v", storm, err)
	}
	t.Log(storm)
	if forks+refused != 800 || refused == 0 || errno != int(syscall.EAGAIN) {
		t.Errorf("storm: %s; want 800 in all, of which some were refused with errno %d", storm, syscall.EAGAIN)
	}
	skippedAtMost(t, table, m, more+most-(40-9)) // the storm itself has nine of the 40
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	if out := explode(t, bomb(t, user, "100")); !strings.HasPrefix(out, "100 forks, 0 refused") {
		t.Errorf("without the guard: %s", out)
	}
}

// Each user has a limit of their own, also when many are at it at once.
func TestForkguardUsers(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	table := newTable(t, Config{})
	m := loadFile(t, "forkguard", forkguardC, "limit=40")
	register(t, table, m)
	var all sync.WaitGroup
	bombs := []string{"100", "100 20", "100 -1 thread", "100 -1 deeper"}
	said := make([]string, len(bombs))
	for i, args := range bombs {
		cmd := bomb(t, uint32(34591+i), strings.Fields(args)...)
		all.Go(func() { said[i] = explode(t, cmd) })
	}
	all.Wait()
	denied, more := uint64(0), 0
	for i, args := range bombs {
		n, skipped := contained(t, args, said[i])
		denied, more = denied+n, more+skipped
	}
	if got := global(t, m, "refused"); got != denied {
		t.Errorf("%d denials are counted, and there were %d", got, denied)
	}
	skippedAtMost(t, table, m, more)
}

// A namespace that root has made for a user is root's, whose tasks nobody counts: there, the
// user has the limit once more.
func TestForkguardNamespaceOfRoot(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	const user = 12345
	table := newTable(t, Config{})
	m := loadFile(t, "forkguard", forkguardC, "limit=40", param("uid", user))
	register(t, table, m)
	var all sync.WaitGroup
	said := make([]string, 3)
	more := 0
	for i := range said {
		cmd := bomb(t, user, "100")
		if i > 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  unix.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{HostID: user, Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{HostID: user, Size: 1}},
				Credential:  &syscall.Credential{},
			}
		}
		all.Go(func() { said[i] = explode(t, cmd) })
	}
	all.Wait()
	for i, s := range said {
		_, skipped := contained(t, fmt.Sprint("of namespace ", i), s)
		more += skipped
	}
	skippedAtMost(t, table, m, more)
}

// bombOfIDs runs the bomb in a namespace with many users, each of whom forks once.
func bombOfIDs(t *testing.T, user int) string {
	t.Helper()
	cmd := bomb(t, uint32(user), "100", "-1", "ids")
	held, _ := testutil.Hold(t, cmd)
	users := fmt.Sprintf("0 %d 1\n1 300000 100\n", user)
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/uid_map", cmd.Process.Pid), []byte(users), 0); err != nil {
		t.Error(err)
	}
	if _, err := held.In.Write([]byte{0}); err != nil {
		t.Error(err)
	}
	line, _ := held.Out.ReadString('\n')
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(line)
}

// bombInCgroup has the bomb fork into another cgroup than its own.
func bombInCgroup(t *testing.T, user int) string {
	t.Helper()
	own := "/sys/fs/cgroup/twbomb"
	other := filepath.Join(own, "other")
	var fds [2]*os.File
	for i, dir := range []string{own, other} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Rmdir(dir); err != nil {
				t.Error(err)
			}
		}()
		if err := os.Chown(filepath.Join(dir, "cgroup.procs"), user, user); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fds[i] = f
	}
	cmd := bomb(t, uint32(user), "100", "-1", "cgroup")
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(fds[0].Fd())
	cmd.ExtraFiles = fds[1:]
	return explode(t, cmd)
}
