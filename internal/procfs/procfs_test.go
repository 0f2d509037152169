package procfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func TestParseStat(t *testing.T) {
	const text = "4711 (odd) (na\nme) S 17 4711 4711 0 -1 4194560 1007 5 3 0 12 34 0 0 20 0 1 0 2500 9 9 9 9 9 9 9 9 257 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 768\n"
	got, err := ParseStat([]byte(text))
	want := Stat{
		TID: 4711, Comm: "odd) (na\nme", State: 'S', PPID: 17, Flags: 4194560,
		MinFlt: 1007, MajFlt: 3, UTimeNS: 12 * TickNS, STimeNS: 34 * TickNS, StartNS: 2500 * TickNS, Pending: 257, ExitCode: 768,
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 x)", ") 1 (", "1 (x)", text[:40]} {
		if s, err := ParseStat([]byte(bad)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %+v, %v", bad, s, err)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const text = "Name:\ta\\nb\\\\n\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t17\nNgid:\t0\nPid:\t18\nPPid:\t1\n" +
		"TracerPid:\t5\nUid:\t1\t2\t3\t4294967294\nGid:\t5\t6\t7\t8\nVmHWM:\t     100 kB\n" +
		"ShdPnd:\t8000000000004000\nSigIgn:\t0000000000001003\nCapEff:\t000001ffffffffff\nvoluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t10\n"
	got, err := parseStatus([]byte(text))
	want := Status{
		Comm: "a\nb\\n", PID: 17, TID: 18, PPID: 1, TracerPID: 5,
		UID: taskwatch.IDs{1, 2, 3, 4294967294}, GID: taskwatch.IDs{5, 6, 7, 8},
		HWMBytes: 100 << 10, CapEff: 0x1ffffffffff, SigIgn: 0x1003, ShdPnd: 0x8000000000004000, NVCSw: 9, NIvCSw: 10,
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseStatus([]byte("Name:\tx\nTgid:\t1\n")); !errors.Is(err, ErrSyntax) {
		t.Errorf("a cut file: %v", err)
	}
}

func TestParseFiles(t *testing.T) {
	for text, want := range map[string][]string{
		"": {}, "a\x00": {"a"}, "a\x00\x00b\x00": {"a", "", "b"}, "a\x00\x00": {"a", ""}, "title without end": {"title without end"},
	} {
		if got := parseCmdline([]byte(text)); got == nil || !slices.Equal(got, want) {
			t.Errorf("cmdline %q gives %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"0::/user.slice\n":                                "/user.slice",
		"2:cpu:/a\n1:name=systemd:/b\n":                   "/b",
		"1:name=systemd:/b\n0::/c:d\n":                    "/c:d",
		"2:cpu:/a\n":                                      "/a",
		"0::/../outside\n1:name=systemd:/b\n4:memory:/\n": "/../outside",
		"4:cpu:/c\n3:cpuset:/a\n1:name=systemd:/\n0::/\n": "/a",
		"4:cpu:/c\n1:name=systemd:/b\n0::/\n":             "/b",
		"4:cpu:/\n1:name=systemd:/\n":                     "/",
		"0::/docker/x (deleted)\n":                        "/docker/x",
		"1:name=systemd:/x (deleted)\n":                   "/x (deleted)", // its name
	} {
		if got := ParseCgroup([]byte(text)); got != want {
			t.Errorf("cgroup %q gives %q, want %q", text, got, want)
		}
	}
	if pids := parseChildren([]byte("12 345 6 ")); !slices.Equal(pids, []int{12, 345, 6}) {
		t.Errorf("children gives %v", pids)
	}
	if r, w := parseIO([]byte("rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 5\n")); r != 4096 || w != 8192 {
		t.Errorf("io gives %d and %d", r, w)
	}
}

// TestReaderOnSelf compares what is read of this process with what it knows.
func TestReaderOnSelf(t *testing.T) {
	var r Reader
	pid := os.Getpid()
	before := sys.BootTime()
	st, err := r.Stat(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	if st.TID != pid || st.PPID != os.Getppid() || st.Exited() || st.Kthread() || st.StartNS <= 0 || st.StartNS > before {
		t.Errorf("stat: %+v", st)
	}
	status, err := r.Status(pid, pid)
	if err != nil {
		t.Fatal(err)
	}
	var uid, gid taskwatch.IDs
	ru, eu, su := unix.Getresuid()
	rg, eg, sg := unix.Getresgid()
	uid = taskwatch.IDs{uint32(ru), uint32(eu), uint32(su), uint32(eu)}
	gid = taskwatch.IDs{uint32(rg), uint32(eg), uint32(sg), uint32(eg)}
	if status.PID != pid || status.TID != pid || status.PPID != os.Getppid() || status.UID != uid || status.GID != gid || status.Comm != st.Comm {
		t.Errorf("status: %+v", status)
	}
	if argv, err := r.Cmdline(pid); err != nil || !slices.Equal(argv, os.Args) {
		t.Errorf("cmdline: %q, %v, want %q", argv, err, os.Args)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if exe, err := r.Exe(pid); err != nil || exe != self {
		t.Errorf("exe: %q, %v, want %q", exe, err, self)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if cwd, err := r.Cwd(pid); err != nil || cwd != dir {
		t.Errorf("cwd: %q, %v, want %q", cwd, err, dir)
	}
	if cgroup, err := r.Cgroup(pid, 0); err != nil || !strings.HasPrefix(cgroup, "/") {
		t.Errorf("cgroup: %q, %v", cgroup, err)
	}
}

// TestLongArguments reads more than the buffer and more than a pipe's worth.
func TestLongArguments(t *testing.T) {
	args := []string{"-c", "echo up; read line"}
	for i := range 500 {
		args = append(args, strings.Repeat(strconv.Itoa(i%10), 1000))
	}
	cmd, _ := testutil.Hold(t, exec.Command("sh", args...))
	var r Reader
	if argv, err := r.Cmdline(cmd.Process.Pid); err != nil || !slices.Equal(argv, cmd.Args) {
		t.Errorf("got %d arguments, %v, want %d", len(argv), err, len(cmd.Args))
	}
}

func TestExitedAndGone(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	var r Reader
	if st, err := r.Stat(pid, 0); err != nil || !st.Exited() {
		t.Errorf("stat of a zombie: %+v, %v", st, err)
	}
	if _, err := r.Exe(pid); !Gone(err) {
		t.Errorf("exe of a zombie: %v", err)
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)); err != nil {
		t.Error(err)
	} else if path, err := r.Cgroup(pid, 0); err != nil || path == "/" && len(hierarchies(b)) > 1 {
		t.Errorf("cgroup of a zombie: %q, %v; %s", path, err, b)
	}
	if argv, err := r.Cmdline(pid); err != nil || len(argv) != 0 {
		t.Errorf("cmdline of a zombie: %q, %v", argv, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Stat(pid, 0); !Gone(err) || !strings.Contains(err.Error(), strconv.Itoa(pid)) {
		t.Errorf("stat of nobody: %v", err)
	}
}

// TestTasks looks for a child, and for every thread of this process.
func TestTasks(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	own := map[int]bool{}
	stop, locked := make(chan struct{}), make(chan int)
	for range 4 {
		go func() {
			locked <- unix.Gettid()
			<-stop
		}()
	}
	defer close(stop)
	for range 4 {
		own[<-locked] = true // some thread, alive as long as this process
	}
	own[os.Getpid()] = true
	child := false
	var r Reader
	err := r.Tasks(func(pid, tid int) error {
		if pid == cmd.Process.Pid && tid == pid {
			child = true
		}
		if pid == os.Getpid() {
			delete(own, tid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !child || len(own) > 0 {
		t.Errorf("child found: %v, own threads not found: %v", child, own)
	}
	stopErr := errors.New("enough")
	if err := r.Tasks(func(int, int) error { return stopErr }); err != stopErr {
		t.Errorf("the function's error came back as %v", err)
	}
}

func TestKthread(t *testing.T) {
	var r Reader
	st, err := r.Stat(2, 0)
	if err != nil || st.Comm != "kthreadd" {
		testutil.Skip(t, "a kthreadd with the pid 2", func() bool {
			comm, _ := os.ReadFile("/proc/2/comm")
			return string(comm) == "kthreadd\n"
		})
	}
	if !st.Kthread() {
		t.Errorf("kthreadd: %+v", st)
	}
}

func TestRoot(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "7", "task", "9")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::/x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := Reader{Root: root}
	if cgroup, err := r.Cgroup(7, 9); err != nil || cgroup != "/x" {
		t.Errorf("%q, %v", cgroup, err)
	}
}

// TestCommAgrees renames a thread to what needs escaping, and reads the name
// both ways.
func TestCommAgrees(t *testing.T) {
	const name = "a\\n\nb) (c"
	cmd, _ := testutil.Hold(t, exec.Command("sh", "-c", `printf '%s' "$1" > /proc/$$/comm; echo; read line`, "sh", name))
	var r Reader
	st, err1 := r.Stat(cmd.Process.Pid, 0)
	status, err2 := r.Status(cmd.Process.Pid, 0)
	if err1 != nil || err2 != nil || st.Comm != name || status.Comm != name {
		t.Errorf("stat says %q (%v), status %q (%v), want %q", st.Comm, err1, status.Comm, err2, name)
	}
}

func FuzzParseStat(f *testing.F) {
	if b, err := os.ReadFile("/proc/self/stat"); err == nil {
		f.Add(b)
	}
	f.Add([]byte("1 (a) b) S 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStat(b)
		if err == nil && !strings.Contains(string(b), "("+s.Comm+")") {
			t.Errorf("the name %q is not in %q", s.Comm, b)
		}
		if err != nil && s != (Stat{}) {
			t.Errorf("an error with %+v", s)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		f.Add(b)
	}
	f.Add([]byte("Uid:\nGid:\t\t\nPid: \nTgid:1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStatus(b)
		if err != nil && s != (Status{}) {
			t.Errorf("an error with %+v", s)
		}
	})
}

func FuzzParseCmdline(f *testing.F) {
	f.Add([]byte("a\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := strings.Join(parseCmdline(b), "\x00")
		if got != strings.TrimSuffix(string(b), "\x00") {
			t.Errorf("%q became %q", b, got)
		}
	})
}

func BenchmarkStat(b *testing.B) {
	var r Reader
	pid := os.Getpid()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Stat(pid, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func TestFromRoot(t *testing.T) {
	for _, c := range []struct{ root, path, want string }{
		{"/", "/in", "/in"}, {"/", "/", "/"}, // the namespace was made at the root
		{"/../..", "/../..", "/"}, {"/../..", "/../../system.slice/x", "/system.slice/x"},
		{"/../..", "/../sibling", ""}, {"/../..", "/in", ""}, {"/../..", "/", ""},
		{"/..", "/../../above", ""}, {"/..", "/..x", ""},
	} {
		if got := fromRoot(c.root, c.path); got != c.want {
			t.Errorf("%q, with the root at %q, is %q, want %q", c.path, c.root, got, c.want)
		}
	}
}

// The name of a thread of the kernel is that of its task, which bpf sees too.
func TestTaskComm(t *testing.T) {
	for _, c := range []struct {
		flags      uint32
		name, want string
	}{
		{pfKthread | pfWorkqueue, "kworker/u8:2-events_unbound", "kworker/u8:2"}, {pfKthread | pfWorkqueue, "kworker/0:1H+kblockd", "kworker/0:1H"},
		{pfKthread | pfWorkqueue, "kworker/R-slub_flushwq", "kworker/R-slub_"}, {pfKthread, "rcu_exp_par_gp_kthread_worker/0", "rcu_exp_par_gp_"},
		{0, "a-b", "a-b"},
	} {
		if s := (&Stat{Comm: c.name, Flags: c.flags}); s.TaskComm() != c.want {
			t.Errorf("%q became %q, want %q", c.name, s.TaskComm(), c.want)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct{ root, path, want string }{
		{"/", "/bin/sh", "/bin/sh"}, {"/jail", "/jail/bin/sh", "/bin/sh"}, {"/jail", "/jail", "/"},
		{"/jail", "/jailer/x", "/jailer/x"}, {"/jail", "/srv (deleted)", "/srv (deleted)"}, {"/jail", "", ""},
	} {
		if got := below(c.root, c.path); got != c.want {
			t.Errorf("%q in the root %q is %q, want %q", c.path, c.root, got, c.want)
		}
	}
}

func TestParseLocks(t *testing.T) {
	const text = "1: POSIX  ADVISORY  WRITE 11 08:01:5678 0 EOF\n" + // of another kind
		"2: FLOCK  ADVISORY  WRITE 12 08:01:99 0 EOF\n" + // of another file
		"3: FLOCK  ADVISORY  WRITE 13 00:2a:5678 0 EOF\n" + // of a file of that number
		"4: FLOCK  ADVISORY  WRITE 14 08:01:5678 0 EOF\n" +
		"4: -> FLOCK  ADVISORY  WRITE 15 08:01:5678 0 EOF\n" + // waits
		"5: FLOCK  ADVISORY  WRITE -1 08:01:77 0 EOF\n" // of another pid namespace
	for _, c := range []struct {
		major, minor uint32
		ino          uint64
		want         int
	}{
		{8, 1, 5678, 14},
		{9, 9, 99, 12}, // a file system that shows another device than it has
		{8, 1, 77, 0},
		{8, 1, 1, 0},
	} {
		if got := parseLocks(text, unix.Mkdev(c.major, c.minor), c.ino); got != c.want {
			t.Errorf("%d:%d:%d: got %d, want %d", c.major, c.minor, c.ino, got, c.want)
		}
	}
}

// What is asked of the machine, and of this process, is what the kernel says by
// other ways.
func TestMachine(t *testing.T) {
	if id := BootID(); len(id) != 36 {
		t.Errorf("boot id %q", id)
	}
	if n, ok := MaxPID(); !ok || n < os.Getpid() {
		t.Errorf("largest pid %d, %v; this is process %d", n, ok, os.Getpid())
	}
	if n, ok := MaxThreads(); !ok || n <= 0 {
		t.Errorf("most threads %d, %v", n, ok)
	}
	if _, ok := LoadAverage(); !ok {
		t.Error("no load average")
	}
	if !InNamespace(os.Getpid(), PIDNamespace) {
		t.Error("this process is in another pid namespace than itself")
	}
	if !HasOwnThread(os.Getpid()) || HasOwnThread(os.Getppid()) {
		t.Errorf("own threads: %v, %v of the parent", HasOwnThread(os.Getpid()), HasOwnThread(os.Getppid()))
	}
	if b, err := ReadOwn("comm"); err != nil || len(b) == 0 {
		t.Errorf("own comm: %q, %v", b, err)
	}
	var r Reader
	want, err := os.ReadFile("/proc/self/comm")
	if got, e := r.Comm(os.Getpid()); err != nil || e != nil || got+"\n" != string(want) {
		t.Errorf("comm %q, %v; want %q, %v", got, e, want, err)
	}
	if got, want := ForOthers("/proc/self/exe"), fmt.Sprintf("/proc/%d/exe", os.Getpid()); got != want {
		t.Errorf("the own program is %s to others, want %s", got, want)
	}
	if got := ForOthers("/proc/selfish"); got != "/proc/selfish" {
		t.Errorf("another path becomes %s", got)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := os.Readlink(FDPath(int(f.Fd()))); err != nil || got != os.DevNull {
		t.Errorf("an open file has the name %q, %v", got, err)
	}
}
