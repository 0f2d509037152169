package ptrace

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// ways are those of testdata/names.c. Each is tried twice: the program is
// denied and must not run, then it is allowed and must.
var ways = []struct {
	name string
	late bool // nobody can be asked before the kernel has done it
}{
	{name: "plain"}, {name: "relative"}, {name: "dotdot"}, {name: "symlink"}, {name: "deepcwd"}, {name: "longpath"},
	{name: "self-fd"}, {name: "dev-fd"}, {name: "thread-self-fd"}, {name: "opath-fd"}, {name: "pid-fd"}, {name: "task-fd"},
	{name: "self-cwd"}, {name: "self-root"}, {name: "execveat"}, {name: "execveat-fd"}, {name: "memfd"}, {name: "magic-chain"},
	{name: "thread"}, {name: "thread-fd"}, {name: "vfork"}, {name: "int80"}, {name: "nodump", late: os.Geteuid() != 0},
	{name: "chroot-link"}, {name: "chroot-dotdot"}, {name: "userns"},
	{name: "script"}, {name: "script4"}, // the script is denied
	{name: "interpreter"}, {name: "interpreter-proc"}, {name: "interpreter2"}, // what it names is
	{name: "notify", late: true},
}

func TestVetoNames(t *testing.T) {
	bin := testutil.BuildC(t, "testdata/names.c")
	target := testutil.BuildC(t, "-static", "testdata/target.c")
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			vetoName(t, bin, target, way.name, false, way.late)
			vetoName(t, bin, target, way.name, true, way.late)
		})
	}
}

// needsBinfmtMisc is met where the test may tell the kernel of a format.
var needsBinfmtMisc = testutil.Need{
	What:   "binfmt_misc",
	Remedy: "boot a kernel with CONFIG_BINFMT_MISC, and run the tests as root",
	Met:    func() bool { return unix.Access(procfs.BinfmtMisc+"/register", unix.W_OK) == nil },
}

// A program that binfmt_misc names as an interpreter is asked about.
func TestVetoBinfmtMisc(t *testing.T) {
	const inside = "TASKWATCH_TEST_BINFMT"
	if os.Getenv(inside) == "" && !needsBinfmtMisc.Met() {
		// It is not mounted: this test once more, with mounts of its own.
		testutil.Root(t)
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestVetoBinfmtMisc$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1", "TASKWATCH_SKIPS=")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		switch {
		case strings.Contains(string(out), "--- SKIP"):
			needsBinfmtMisc.Skip(t, "it could not be mounted")
		case err != nil || !strings.Contains(string(out), "--- PASS: TestVetoBinfmtMisc"):
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if os.Getenv(inside) != "" {
		// Not all of / is made private, which in a chroot is no mount.
		if err := unix.Mount("", "/proc", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		_ = unix.Mount("none", procfs.BinfmtMisc, "binfmt_misc", 0, "") // else it is missed below
	}
	testutil.Require(t, needsBinfmtMisc)
	bin := testutil.BuildC(t, "testdata/names.c")
	target := testutil.BuildC(t, "-static", "testdata/target.c")
	for _, flags := range []string{"", "P", "F"} {
		for _, deny := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s deny=%v", flags, deny), func(t *testing.T) {
				vetoNameIn(t, t.TempDir(), bin, target, "binfmt", deny, false, func(program string) {
					entry := filepath.Join(procfs.BinfmtMisc, "taskwatch-test")
					if err := os.WriteFile(procfs.BinfmtMisc+"/register", []byte(":taskwatch-test:E::taskwatch::"+program+":"+flags), 0o200); err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() {
						if err := os.WriteFile(entry, []byte("-1"), 0o200); err != nil {
							t.Error(err)
						}
					})
				})
			})
		}
	}
}

// An exec without arguments has one, which is empty, where it is decided as where it
// has happened.
func TestVetoWithoutArguments(t *testing.T) {
	noargs := testutil.BuildC(t, "../../test/modules/testdata/noargs.c", "-static")
	waits := testutil.BuildC(t, "../../test/modules/testdata/waits.c", "-static")
	for _, list := range []string{"", "empty"} {
		argv := []string{noargs, strconv.Itoa(os.Getgid()), waits}
		if list != "" {
			argv = append(argv, list)
		}
		var asked, told [][]string
		note := func(list *[][]string) taskwatch.Watcher {
			return func(ev *taskwatch.Event) error {
				if !ev.Late {
					*list = append(*list, slices.Clone(ev.Task.Argv))
				}
				return nil
			}
		}
		tr := watch(t, Config{Command: &source.Command{Argv: argv}},
			watching("asked", note(&asked), nil, taskwatch.Exec),
			watching("told", note(&told), []taskwatch.WatchOption{taskwatch.Observe()}, taskwatch.Exec))
		if tr.err != nil || tr.source.Exit().Code != 0 {
			t.Fatal(tr.err, tr.source.Exit())
		}
		want := [][]string{argv, {""}}
		if !slices.EqualFunc(asked, want, slices.Equal) || !slices.EqualFunc(told, want, slices.Equal) {
			t.Errorf("%q: asked about %q, and %q happened; want %q", list, asked, told, want)
		}
	}
}

// A format of binfmt_misc is found as the kernel finds it.
func TestFormats(t *testing.T) {
	dir := t.TempDir()
	fs := formats{dir: dir}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found := func(head, name string) string {
		f, ok := fs.interpreter([]byte(head), name)
		if !ok {
			return ""
		}
		return strings.Join(f.argv(name, []string{"a", "b"}), " ")
	}
	if got := found("x", "x.py"); got != "" {
		t.Errorf("without formats: %q", got)
	}
	write("status", "enabled\n")
	write("py", "enabled\ninterpreter /usr/bin/python\nflags: \nextension .py\n")
	write("arm", "enabled\ninterpreter /usr/bin/arm emulator\nflags: PF\noffset 1\nmagic 454c46\nmask ffffdf\n")
	write("off", "disabled\ninterpreter /bin/off\nflags: \nextension .off\n")
	write("odd", "enabled\nnonsense\n")
	for _, c := range []struct{ head, name, want string }{
		{"print()", "./x.py", "/usr/bin/python ./x.py b"},
		{"print()", "./x.pyc", ""}, {"", "py", ""}, {"", "./x.off", ""},
		{"\x7fELF", "x", "/usr/bin/arm emulator x a b"}, {"\x7fELf", "x", "/usr/bin/arm emulator x a b"},
		{"\x7fEL", "x", ""}, {"ELF", "x", ""},
		{"\x7fELF", "x.py", ""}, // by two: which is first is not known
	} {
		if got := found(c.head, c.name); got != c.want {
			t.Errorf("%q named %s: %q, want %q", c.head, c.name, got, c.want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "py")); err != nil {
		t.Fatal(err)
	}
	if got := found("print()", "./x.py"); got != "" {
		t.Errorf("after its removal: %q", got)
	}
}

// A program that rewrites the name, or the arguments, between the question and
// the exec does not get what was denied.
func TestVetoRaces(t *testing.T) {
	n, once := testutil.Size(100, 300, 5000), 250
	for at := 0; at < n; at += once {
		vetoRaces(t, min(once, n-at))
	}
}

func vetoRaces(t *testing.T, n int) {
	bin := testutil.BuildC(t, "-pthread", "testdata/race.c")
	target := testutil.BuildC(t, "-static", "testdata/target.c")
	dir := t.TempDir()
	copyFile(t, filepath.Join(dir, "denied-program"), target, 0o755)
	copyFile(t, filepath.Join(dir, "other-program"), "/bin/true", 0o755)
	late := 0
	guard := watching("guard", func(ev *taskwatch.Event) error {
		if strings.HasSuffix(ev.Task.Exe, "/denied-program") || slices.Contains(ev.Task.Argv, "denied-argument") {
			if ev.Late {
				late++
			}
			return syscall.EACCES
		}
		return nil
	}, nil, taskwatch.Exec)
	tr := watch(t, Config{Command: &source.Command{Path: bin, Argv: []string{bin, strconv.Itoa(n), filepath.Join(dir, "denied-program"), filepath.Join(dir, "other-program"), filepath.Join(dir, "mark")}, Dir: dir}}, guard)
	if tr.err != nil || tr.source.Exit().Code != 0 {
		t.Fatal(tr.err, tr.source.Exit())
	}
	denied, killed := 0, 0
	for _, f := range tr.errors {
		switch f.Verdict {
		case taskwatch.Denied:
			denied++
		case taskwatch.Killed:
			killed++
		}
	}
	ran := 0
	for _, ev := range tr.kind(taskwatch.Exec) {
		if strings.HasSuffix(ev.Task.Exe, "/denied-program") || slices.Contains(ev.Task.Argv, "denied-argument") {
			ran++
		}
	}
	if unix.Access(filepath.Join(dir, "mark"), unix.F_OK) == nil || ran > 0 {
		t.Errorf("what was denied ran, %d times; %d denied, %d killed", ran, denied, killed)
	}
	if killed != late {
		t.Errorf("%d denials came late, %d have killed", late, killed)
	}
	t.Logf("%d races: %d denied before the exec, %d killed after it", n, denied, killed)
	if denied+killed == 0 {
		t.Error("nothing was denied: the race was none")
	}
}

// A program that this process may send no signals to does not run either.
func TestCrash(t *testing.T) {
	target := testutil.BuildC(t, "-static", "testdata/target.c")
	mark := filepath.Join(t.TempDir(), "mark")
	runtime.LockOSThread() // and never unlocked: the tracer is a thread
	pid, err := syscall.ForkExec(target, []string{target, mark}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Ptrace: true}})
	if err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil || !status.Stopped() {
		t.Fatal(status, err) // at its exec
	}
	if err := changeRegs(pid, setNowhere); err != nil {
		t.Fatal(err)
	}
	// As before Linux 5.19, where PTRACE_KILL would do no more.
	if err := sys.PtraceResume(unix.PTRACE_CONT, pid, 0); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			t.Fatal(err)
		}
		if !status.Stopped() {
			break
		}
		if status.StopSignal() != unix.SIGSEGV {
			t.Errorf("it stopped with %v", status.StopSignal())
		}
		if err := sys.PtraceResume(unix.PTRACE_CONT, pid, int(status.StopSignal())); err != nil {
			t.Fatal(err)
		}
	}
	if !status.Signaled() || status.Signal() != unix.SIGSEGV {
		t.Errorf("it ended with %#x, want SIGSEGV", status)
	}
	if unix.Access(mark, unix.F_OK) == nil {
		t.Error("the program ran")
	}
}

// vetoName has a program run a copy of target in one way. The guard goes by
// the file alone.
func vetoName(t *testing.T, bin, target, way string, deny, late bool) {
	t.Helper()
	vetoNameIn(t, t.TempDir(), bin, target, way, deny, late, func(string) {})
}

func vetoNameIn(t *testing.T, dir, bin, target, way string, deny, late bool, prepare func(program string)) {
	t.Helper()
	program, mark := filepath.Join(dir, "denied-program"), filepath.Join(dir, "mark")
	name := "denied-program"
	if strings.HasPrefix(way, "script") {
		name = "denied-script"
	}
	copyFile(t, program, target, 0o755)
	prepare(program)
	asked, askedLate := 0, 0
	guard := watching("guard", func(ev *taskwatch.Event) error {
		file := ev.Task.Exe
		if !ev.Missing.Has(taskwatch.FieldExe) && (strings.HasSuffix(file, "/"+name) || strings.Contains(file, ":"+name)) {
			asked++
			if ev.Late {
				askedLate++
			}
			if deny {
				return syscall.EACCES
			}
		}
		return nil
	}, nil, taskwatch.Exec)
	tr := watch(t, Config{Command: &source.Command{Path: bin, Argv: []string{bin, way, program, mark}, Dir: dir}}, guard)
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	status := tr.source.Exit()
	if status.Code == 77 {
		testutil.Skip(t, "a machine that allows "+way, func() bool { return false })
	}
	err := unix.Access(mark, unix.F_OK)
	ran := err == nil
	switch {
	case deny && ran:
		t.Errorf("denied, it ran all the same; %d questions", asked)
	case deny && asked == 0:
		t.Errorf("denied, nobody was asked; %+v", status)
	case deny && !late && status.Code != 126:
		t.Errorf("denied, it ended with %+v and not with the error of its exec", status)
	case !deny && (!ran || status.Code != 42):
		t.Errorf("allowed, it did not run: mark %v, %+v, %d questions, %v", ran, status, asked, tr.errors)
	}
	if askedLate > 0 && !late {
		t.Errorf("%d of %d questions came late", askedLate, asked)
	}
	if asked > 1 {
		t.Errorf("%d questions about one exec", asked)
	}
}

// The optional fields that an exec leaves as they are, are known where it is decided.
func TestOptionalFieldsAtTheDecision(t *testing.T) {
	sid, err := unix.Getsid(0)
	if err != nil {
		t.Fatal(err)
	}
	const asked = taskwatch.FieldSID | taskwatch.FieldTTY | taskwatch.FieldCapsEffective
	decided := 0
	sh(t, "/bin/true; :", watching("decides", func(ev *taskwatch.Event) error {
		decided++
		if ev.Extra == nil || ev.Extra.Given != asked&^taskwatch.FieldCapsEffective || ev.Extra.SID != sid {
			t.Errorf("%s has %+v, want the session %d", ev.Task.Exe, ev.Extra, sid)
		}
		if ev.Missing&asked != taskwatch.FieldCapsEffective {
			t.Errorf("%s misses %v", ev.Task.Exe, ev.Missing&asked)
		}
		return nil
	}, []taskwatch.WatchOption{taskwatch.Reads(taskwatch.DefaultFields | asked)}, taskwatch.Exec))
	if decided != 2 {
		t.Errorf("%d execs were decided, want 2", decided)
	}
}
