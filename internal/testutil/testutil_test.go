package testutil

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// leakEnv makes the test binary leave one thing behind instead of testing.
const leakEnv = "TASKWATCH_TESTUTIL_LEAK"

func TestMain(m *testing.M) {
	if what := os.Getenv(orphanEnv); what != "" {
		ReapOrphans()
		os.Exit(leaveOrphan(what))
	}
	if what := os.Getenv(leakEnv); what != "" {
		if what != "late" {
			settleTime /= 10 // what is left on purpose never settles
		}
		os.Exit(run(leaker(what)))
	}
	Main(m)
}

// leaker stands in for a *testing.M whose tests pass and leave a mess.
type leaker string

func (what leaker) Run() int {
	var err error
	switch what {
	case "nothing":
		err = exec.Command("true").Run()
	case "fd":
		_, err = syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	case "socket":
		_, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	case "epoll":
		_, err = syscall.EpollCreate1(0)
	case "child":
		err = exec.Command("sleep", "60").Start()
	case "zombie":
		err = exec.Command("true").Start()
	case "grandchild": // the shell ends, and init gets the sleep
		err = exec.Command("sh", "-c", "sleep 61 >/dev/null 2>&1 &").Run()
	case "tracee":
		runtime.LockOSThread()
		cmd := exec.Command("sleep", "62")
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		err = cmd.Start()
	case "goroutine":
		go func() { select {} }()
	case "late": // not a leak: gone soon after the tests
		r, w, _ := os.Pipe()
		cmd := exec.Command("sleep", "0.2")
		if err = cmd.Start(); err == nil {
			go func() { cmd.Wait(); r.Close(); w.Close() }()
		}
	case "skip":
		skips.add("TestNothing", "a miracle", "none came")
	default:
		err = fmt.Errorf("unknown leak %q", what)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	return 0
}

// leak runs the test binary as a leaker and returns its status and what it
// wrote. It ends what the leaker left behind.
func leak(t *testing.T, what string, env ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), leakEnv+"="+what), env...)
	cmd.Stderr = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	f, err := os.CreateTemp(t.TempDir(), "") // a file: a pipe would be held by what is left behind
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stderr = f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if killErr := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); killErr != nil && killErr != syscall.ESRCH {
		t.Fatal(killErr)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

func TestMainFindsLeaks(t *testing.T) {
	for what, want := range map[string]string{
		"fd":         "/dev/null",
		"socket":     "socket:[",
		"epoll":      "anon_inode:[eventpoll]",
		"child":      "sleep 60",
		"zombie":     "state Z",
		"grandchild": "sleep 61",
		"tracee":     "sleep 62",
		"goroutine":  "leaker.Run",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			code, out := leak(t, what)
			if code != 1 || !strings.Contains(out, "left") || !strings.Contains(out, want) {
				t.Errorf("exit status %d, want 1 and a word of %q:\n%s", code, want, out)
			}
		})
	}
}

func TestMainPassesWithoutLeaks(t *testing.T) {
	for _, what := range []string{"nothing", "late"} {
		if code, out := leak(t, what); code != 0 || out != "" {
			t.Errorf("%s: exit status %d, want 0 and silence:\n%s", what, code, out)
		}
	}
}

func TestMainReportsSkips(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skips")
	code, out := leak(t, "skip", "TASKWATCH_SKIPS="+file)
	const line = "TestNothing: needs a miracle: none came\n"
	if code != 0 || out != "testutil: 1 skipped\n"+line {
		t.Errorf("exit status %d, and printed %q", code, out)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != line {
		t.Errorf("the file has %q, %v; want %q", got, err, line)
	}
}

// fakeT records how a test was ended.
type fakeT struct {
	testing.TB // panics when anything else is called
	ended      string
	text       string
}

func (t *fakeT) Helper()      {}
func (t *fakeT) Name() string { return "TestFake" }
func (t *fakeT) Skipf(format string, args ...any) {
	t.end("skipped", fmt.Sprintf(format, args...))
}
func (t *fakeT) Fatalf(format string, args ...any) {
	t.end("failed", fmt.Sprintf(format, args...))
}
func (t *fakeT) end(how, text string) {
	t.ended, t.text = how, text
	runtime.Goexit()
}

// try calls fn as a test and tells how it ended. It forgets the skips that fn
// counted, which are not real ones, and returns their number.
func try(fn func(t testing.TB)) (ft *fakeT, counted int) {
	ft = &fakeT{ended: "ran"}
	before := len(skips.lines)
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(ft)
	}()
	<-done
	counted = len(skips.lines) - before
	skips.lines = skips.lines[:before]
	return ft, counted
}

func TestSkipping(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	for _, c := range []struct {
		name string
		ci   string
		fn   func(t testing.TB)
		want string
	}{
		{"a need that is met", "", func(t testing.TB) { Require(t, Need{What: "x", Met: yes}) }, "ran"},
		{"one that is not", "", func(t testing.TB) { Require(t, Need{What: "x", Met: no}) }, "skipped"},
		{"one of two", "", func(t testing.TB) { Require(t, Need{What: "y", Met: yes}, Need{What: "x", Met: no}) }, "skipped"},
		{"promised, elsewhere", "", func(t testing.TB) { Require(t, Need{What: "x", Met: no, Promised: true}) }, "skipped"},
		{"promised, in CI", "1", func(t testing.TB) { Require(t, Need{What: "x", Met: no, Promised: true}) }, "failed"},
		{"not promised, in CI", "1", func(t testing.TB) { Require(t, Need{What: "x", Met: no}) }, "skipped"},
		{"tried in vain, possible", "", func(t testing.TB) { Need{What: "x", Met: yes}.Skip(t, "EPERM") }, "failed"},
		{"tried in vain, impossible", "", func(t testing.TB) { Need{What: "x", Met: no}.Skip(t, "EPERM") }, "skipped"},
		{"Skip, possible", "", func(t testing.TB) { Skip(t, "x", yes) }, "failed"},
		{"Skip, impossible", "1", func(t testing.TB) { Skip(t, "x", no) }, "skipped"},
		{"a missing tool", "", func(t testing.TB) { RequireTool(t, "x-no-such-tool") }, "skipped"},
		{"a missing tool in CI", "1", func(t testing.TB) { RequireTool(t, "x-no-such-tool") }, "failed"},
		{"a tool", "1", func(t testing.TB) { RequireTool(t, "sh") }, "ran"},
		{"an old kernel", "1", func(t testing.TB) { Require(t, NeedsKernel(2, 6)) }, "ran"},
		{"a kernel to come", "1", func(t testing.TB) { Require(t, NeedsKernel(1000, 0)) }, "skipped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TASKWATCH_CI", c.ci)
			got, counted := try(c.fn)
			if got.ended != c.want {
				t.Errorf("the test %s, want it %s: %s", got.ended, c.want, got.text)
			}
			if c.want != "ran" && !strings.Contains(got.text, "x") && !strings.Contains(got.text, "Linux 1000.0") {
				t.Errorf("the message does not name the need: %s", got.text)
			}
			if skipped := c.want == "skipped"; skipped != (counted == 1) || counted > 1 {
				t.Errorf("%d skips counted", counted)
			}
		})
	}
}

// A skip that nobody would report is no skip.
func TestSkipsNeedMain(t *testing.T) {
	t.Setenv("TASKWATCH_CI", "") // where it would fail for another reason
	defer func() { reports = true }()
	reports = false
	got, counted := try(func(t testing.TB) { RequireTool(t, "x-no-such-tool") })
	if got.ended != "failed" || counted != 0 || !strings.Contains(got.text, "testutil.Main") {
		t.Errorf("the test %s, and %d skips are counted: %s", got.ended, counted, got.text)
	}
}

func TestNeedsRootFollowsTheUserID(t *testing.T) {
	got, _ := try(func(t testing.TB) { Root(t) })
	if ran := got.ended == "ran"; ran != (os.Geteuid() == 0) {
		t.Errorf("as uid %d the test %s", os.Geteuid(), got.ended)
	}
}

// The kernel's own answer is the truth about its version: uname prints it.
func TestNeedsKernelAgreesWithUname(t *testing.T) {
	out, err := exec.Command("uname", "-r").Output()
	if err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(out), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	if !NeedsKernel(major, minor).Met() || NeedsKernel(major, minor+1).Met() || NeedsKernel(major+1, 0).Met() {
		t.Errorf("wrong about Linux %d.%d", major, minor)
	}
}

func TestBuildC(t *testing.T) {
	three := BuildC(t, "testdata/exit.c", "-DSTATUS=3")
	four := BuildC(t, "-DSTATUS=4", "testdata/exit.c")
	for path, want := range map[string]int{three: 3, four: 4} {
		var exit *exec.ExitError
		if err := exec.Command(path).Run(); !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("%s: %v, want exit status %d", path, err, want)
		}
		if filepath.Base(path) != "exit" {
			t.Errorf("the program is named %s", path)
		}
	}
	if again := BuildC(t, "testdata/exit.c", "-DSTATUS=3"); again != three {
		t.Errorf("built again as %s, have %s", again, three)
	}
	got, _ := try(func(t testing.TB) { BuildC(t, "testdata/broken.c") })
	if got.ended != "failed" || !strings.Contains(got.text, "broken.c:2") {
		t.Errorf("a broken program %s: %s", got.ended, got.text)
	}
}

// The same text is the same program, wherever it is; with another text, or another file
// that it includes, it is another one.
func TestBuildCKnowsTheText(t *testing.T) {
	program := func(text, header string) (path string, status int) {
		t.Helper()
		dir := t.TempDir()
		file := filepath.Join(dir, "known.c")
		if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "known.h"), []byte(header), 0o600)); err != nil {
			t.Fatal(err)
		}
		path = BuildC(t, file)
		cmd := exec.Command(path)
		_ = cmd.Run() // the status tells
		return path, cmd.ProcessState.ExitCode()
	}
	const plain, includes = "int main(void) { return %d; }\n", "#include \"known.h\"\nint main(void) { return STATUS; }\n"
	one, status := program(fmt.Sprintf(plain, 1), "")
	if again, _ := program(fmt.Sprintf(plain, 1), "// not included"); again != one || status != 1 {
		t.Errorf("%s ends with %d, and again it is %s", one, status, again)
	}
	if two, status := program(fmt.Sprintf(plain, 2), ""); two == one || status != 2 {
		t.Errorf("another text: %s ends with %d, want 2", two, status)
	}
	for want := range 3 {
		if path, status := program(includes, fmt.Sprintf("#define STATUS %d\n", want)); status != want {
			t.Errorf("%s ends with %d, and its header says %d", path, status, want)
		}
	}
}

// A compiler that can build nothing is none, and no fault of the program.
func TestBuildCWithoutHeaders(t *testing.T) {
	Require(t, NeedsCompiler("gcc"))
	for _, c := range []struct {
		ci   string
		args []string
		want string
	}{
		{"", []string{"-nostdinc", "testdata/exit.c"}, "skipped"},
		{"1", []string{"-nostdinc", "testdata/exit.c"}, "failed"},
		{"", []string{"-nostdinc", "testdata/broken.c"}, "skipped"},
		{"", []string{"testdata/broken.c"}, "failed"},
	} {
		t.Setenv("TASKWATCH_CI", c.ci)
		got, _ := try(func(t testing.TB) { BuildC(t, c.args...) })
		if got.ended != c.want {
			t.Errorf("%q with TASKWATCH_CI=%q %s, want it %s: %s", c.args, c.ci, got.ended, c.want, got.text)
		}
		if c.want == "skipped" && (!strings.Contains(got.text, "gcc -O1") || !strings.Contains(got.text, "-nostdinc") || !strings.Contains(got.text, "libc6-dev")) {
			t.Errorf("the reason lacks the command or the remedy: %s", got.text)
		}
	}
}

func TestSizes(t *testing.T) {
	for nightly, want := range map[string]int{"1": 3, "": 2} {
		t.Setenv("TASKWATCH_NIGHTLY", nightly)
		if testing.Short() && nightly == "" {
			want = 1
		}
		if got := Size(1, 2, 3); got != want {
			t.Errorf("TASKWATCH_NIGHTLY=%q: size %d, want %d", nightly, got, want)
		}
		got, _ := try(func(t testing.TB) { Nightly(t) })
		if ran := got.ended == "ran"; ran != (nightly == "1") {
			t.Errorf("TASKWATCH_NIGHTLY=%q: a nightly test %s", nightly, got.ended)
		}
	}
}

func TestBuildsAreRemoved(t *testing.T) {
	path := BuildC(t, "testdata/exit.c", "-DSTATUS=5")
	removeBuilds()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", path, err)
	}
	if again := BuildC(t, "testdata/exit.c", "-DSTATUS=5"); again == path {
		t.Errorf("a removed program was handed out again")
	}
}

// A goroutine that lives when Main starts is nobody's leak.
func TestBaselineHoldsWhatWasThere(t *testing.T) {
	stop, running := make(chan struct{}), make(chan struct{})
	go func() { close(running); <-stop }()
	defer close(stop)
	<-running
	b := &baseline{fds: map[string]bool{}, goroutines: map[string]bool{}}
	for id := range goroutines() {
		b.goroutines[id] = true
	}
	fds, err := openFDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		b.fds[fd] = true
	}
	leaks, err := b.leaks()
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(leaks, func(s string) bool { return !strings.HasPrefix(s, "child") }); i >= 0 {
		t.Errorf("not in the baseline: %s", leaks[i])
	}
}
