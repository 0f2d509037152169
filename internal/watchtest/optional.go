package watchtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// truthEnv has a test binary say what is true of itself, and end.
const truthEnv = "TASKWATCH_TEST_TRUTH"

func init() {
	switch os.Getenv(truthEnv) {
	case "":
	case "groups":
		must(unix.Setgroups(setGroups)) // in each thread
		os.Exit(0)
	case "chroot":
		must(unix.Chroot(os.Args[2]))
		must(os.Chdir("/"))
		must(unix.Exec("/program", []string{"/program", "inside"}, os.Environ()))
	case "gain":
		runWithRights(os.Args[2], os.Args[3])
	case "burn":
		burnCPU()
	case "burned":
		tellCPU()
		os.Exit(0)
	case "rights":
		tellRights()
		os.Exit(0)
	default:
		tellTruth()
	}
}

// setGroups is what a program sets its groups to; the kernel sorts them.
var setGroups = []int{61003, 61001, 61002}

// ownTruth is what a program finds out about itself: by system calls where there are
// any, and else from /proc. What this kernel does not tell is nil.
type ownTruth struct {
	AUID, SessionID   *uint32
	Caps              [3]uint64 // effective, permitted, inheritable: capget
	Bounding, Ambient uint64    // prctl
	Groups            []int     // getgroups
	VPID              int       // gettid
	NS                map[string]string
	ExeHost           string
	ExeDev, ExeIno    uint64
	Env               []string
	Secure            bool
	CgroupID          uint64
	Cwd               string
	Nice              int
	SID               int // getsid
	TTY               int // tty_nr of stat
}

func tellTruth() {
	var w ownTruth
	number := func(file string) *uint32 {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
		must(err)
		v := uint32(n)
		return &v
	}
	w.AUID, w.SessionID = number("/proc/self/loginuid"), number("/proc/self/sessionid")
	var data [2]unix.CapUserData
	must(unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]))
	w.Caps = [3]uint64{
		uint64(data[1].Effective)<<32 | uint64(data[0].Effective),
		uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted),
		uint64(data[1].Inheritable)<<32 | uint64(data[0].Inheritable),
	}
	for c := range 64 {
		if on, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err == nil && on == 1 {
			w.Bounding |= 1 << c
		}
		if on, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, uintptr(c), 0, 0); err == nil && on == 1 {
			w.Ambient |= 1 << c
		}
	}
	var err error
	w.Groups, err = os.Getgroups()
	must(err)
	w.VPID = os.Getpid()
	w.SID, err = unix.Getsid(0)
	must(err)
	w.NS = make(map[string]string)
	for _, name := range []string{"mnt", "pid", "net", "user"} {
		w.NS[name], err = os.Readlink("/proc/self/ns/" + name)
		must(err)
	}
	w.ExeHost, err = os.Readlink("/proc/self/exe")
	must(err)
	var st unix.Stat_t
	must(unix.Stat("/proc/self/exe", &st))
	w.ExeDev, w.ExeIno = uint64(st.Dev), st.Ino
	w.Env = os.Environ()
	w.Secure = unix.Geteuid() != unix.Getuid() || unix.Getegid() != unix.Getgid()
	w.Cwd, err = os.Getwd()
	must(err)
	stat, err := os.ReadFile("/proc/self/stat")
	must(err)
	_, err = fmt.Sscan(string(bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])[4]), &w.TTY)
	must(err)
	w.CgroupID = OwnCgroupID()
	prio, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	must(err)
	w.Nice = 20 - prio // what the system call returns is never negative
	must(json.NewEncoder(os.Stdout).Encode(&w))
	os.Exit(0)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "what is true cannot be told:", err)
		os.Exit(1)
	}
}

// OwnCgroupID returns the inode of the directory of this process's cgroup, or 0
// where its hierarchy is not to be seen.
func OwnCgroupID() uint64 {
	name, path := ownPlace()
	mounts := []string{"/sys/fs/cgroup/" + strings.TrimPrefix(name, "name=")}
	if name == "" {
		mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
	}
	for _, mount := range mounts {
		var fs unix.Statfs_t
		var st unix.Stat_t
		if unix.Statfs(mount, &fs) == nil && (name != "" || fs.Type == unix.CGROUP2_SUPER_MAGIC) && unix.Stat(mount+path, &st) == nil {
			return st.Ino
		}
	}
	return 0
}

// Optional checks a source's optional fields, each of them asked for, against
// what a program finds out about itself. Fields in lacks are those that the source
// never has.
func Optional(t *testing.T, newInstance func(t testing.TB, cmd Command) Instance, lacks taskwatch.Fields) {
	cmd, got := toldOf(t, newInstance, "1")
	out, err := os.ReadFile(cmd.Stdout.Name())
	if err != nil {
		t.Fatal(err)
	}
	var w ownTruth
	if err := json.Unmarshal(out, &w); err != nil {
		text, _ := os.ReadFile(cmd.Stderr.Name())
		t.Fatalf("%v: %s%s", err, out, text)
	}
	if w.AUID == nil {
		lacks |= taskwatch.FieldAUID | taskwatch.FieldSessionID
	}
	if w.CgroupID == 0 {
		lacks |= taskwatch.FieldCgroupID
	}
	execs := 0
	for _, ev := range got {
		want := taskwatch.OptionalOf(ev.Kind)
		var given taskwatch.Fields
		if ev.Extra != nil {
			given = ev.Extra.Given
		}
		if given&ev.Missing != 0 || (given|ev.Missing)&want != want || given&^want != 0 {
			t.Errorf("%v: %v given, %v missing, of %v", ev.Kind, given, ev.Missing, want)
		}
		if less := want &^ given &^ lacks; less != 0 {
			t.Errorf("%v lacks %v", ev.Kind, less)
		}
		if len(ev.Task.Argv) == 2 && ev.Task.Argv[1] == "argument" && ev.Extra != nil {
			if ev.Kind == taskwatch.Exec {
				execs++
			}
			w.check(t, ev, cmd.Env)
		}
	}
	if execs != 1 {
		t.Errorf("%d execs of the program", execs)
	}
	if !lacks.Has(taskwatch.FieldBeforeUTime) {
		checkBefore(t, newInstance, lacks)
	}
	if os.Geteuid() == 0 {
		checkSetGroups(t, newInstance)
		t.Run("chroot", func(t *testing.T) { checkChroot(t, newInstance) })
		dir, err := os.MkdirTemp("", "watchtest-gains-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		MakeGains(t, dir)
		for _, user := range []int{0, nobody} {
			Gains(t, newInstance, dir, user, false)
		}
	}
}

// toldOf returns all events of a program that tells a truth about itself.
func toldOf(t *testing.T, newInstance func(t testing.TB, cmd Command) Instance, truth string, args ...string) (cmd Command, got []*taskwatch.Event) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, cfg: &Config{New: newInstance}}
	cmd = r.newCommand(append([]string{self, "argument"}, args...))
	cmd.Env = append(cmd.Env, truthEnv+"="+truth, "EMPTY=", "NAME=a value")
	inst := newInstance(t, cmd)
	var reg taskwatch.Registry
	m := &taskwatch.Module{Name: "all fields"}
	for _, k := range taskwatch.AllKinds.List() {
		m.Watch(k, func(ev *taskwatch.Event) error { got = append(got, ev.Clone()); return nil }, taskwatch.Observe(), taskwatch.Reads(taskwatch.AllFields))
	}
	if err := reg.Register(m); err != nil {
		t.Fatal(err)
	}
	if err := inst.Source.Run(t.Context(), &reg); err != nil {
		t.Fatal(err)
	}
	return cmd, got
}

// checkChroot checks the two paths of a program in a chroot.
func checkChroot(t *testing.T, newInstance func(t testing.TB, cmd Command) Instance) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	source := filepath.Join(dir, "program.c")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	static, err := os.ReadFile(testutil.BuildC(t, source, "-static")) // there are no libraries inside
	if err == nil {
		err = os.WriteFile(program, static, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, got := toldOf(t, newInstance, "chroot", dir)
	execs := 0
	for _, ev := range got {
		if ev.Kind != taskwatch.Exec || !slices.Contains(ev.Task.Argv, "inside") {
			continue
		}
		execs++
		if ev.Task.Exe != "/program" || ev.Task.Cwd != "/" {
			t.Errorf("in the chroot: exe %q, cwd %q, want /program in /", ev.Task.Exe, ev.Task.Cwd)
		}
		if x := ev.Extra; x == nil || x.ExeHost != program && !outsideIs(x.ExeHost, program) {
			t.Errorf("in the chroot: the path of the host is %+v (%v missing), want %s", x, ev.Missing, program)
		}
	}
	if execs != 1 {
		t.Errorf("%d execs in the chroot", execs)
	}
}

// checkSetGroups checks that the event of a setgroups has the groups that it
// sets, and not those of before.
func checkSetGroups(t *testing.T, newInstance func(t testing.TB, cmd Command) Instance) {
	want := slices.Sorted(slices.Values(setGroups))
	n := 0
	_, got := toldOf(t, newInstance, "groups")
	for _, ev := range got {
		if ev.Cause != taskwatch.CauseSetGroups {
			continue
		}
		if n++; ev.Extra == nil || fmt.Sprint(ev.Extra.Groups) != fmt.Sprint(want) {
			t.Errorf("setgroups: %+v, %v missing, want the groups %v", ev.Extra, ev.Missing&taskwatch.FieldGroups, want)
		}
	}
	if n == 0 {
		t.Error("setgroups was not told")
	}
}

// check compares what an event of the program has. What is of a task and not of
// its process is that of the first one.
func (w *ownTruth) check(t *testing.T, ev *taskwatch.Event, env []string) {
	x := ev.Extra
	same := func(f taskwatch.Fields, got, want any) {
		t.Helper()
		if x.Given.Has(f) && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: %v is %v, and the program itself finds %v", ev.Kind, f, got, want)
		}
	}
	if w.AUID != nil {
		same(taskwatch.FieldAUID, x.AUID, *w.AUID)
		same(taskwatch.FieldSessionID, x.SessionID, *w.SessionID)
	}
	same(taskwatch.FieldCapsEffective, x.CapsEffective, w.Caps[0])
	same(taskwatch.FieldCapsPermitted, x.CapsPermitted, w.Caps[1])
	same(taskwatch.FieldCapsInheritable, x.CapsInheritable, w.Caps[2])
	same(taskwatch.FieldCapsBounding, x.CapsBounding, w.Bounding)
	same(taskwatch.FieldCapsAmbient, x.CapsAmbient, w.Ambient)
	same(taskwatch.FieldCapsSecure, x.CapsSecure, w.Secure)
	groups, has := slices.Clone(w.Groups), x.Groups
	slices.Sort(groups)
	same(taskwatch.FieldGroups, has, groups)
	if ev.Task.TID == ev.Task.PID {
		same(taskwatch.FieldVPID, x.VPID, w.VPID)
	}
	for name, f := range map[string]struct {
		field taskwatch.Fields
		got   uint32
	}{
		"mnt": {taskwatch.FieldNSMnt, x.NSMnt}, "pid": {taskwatch.FieldNSPID, x.NSPID},
		"net": {taskwatch.FieldNSNet, x.NSNet}, "user": {taskwatch.FieldNSUser, x.NSUser},
	} {
		same(f.field, fmt.Sprintf("%s:[%d]", name, f.got), w.NS[name])
	}
	// The host has another path where the tests run in a chroot.
	if x.ExeHost != w.ExeHost && outsideIs(x.ExeHost, w.ExeHost) {
		w.ExeHost = x.ExeHost
	}
	same(taskwatch.FieldExeHost, x.ExeHost, w.ExeHost)
	same(taskwatch.FieldExeDev, x.ExeDev, w.ExeDev)
	same(taskwatch.FieldExeIno, x.ExeIno, w.ExeIno)
	same(taskwatch.FieldEnv, strings.Join(x.Env, "\n"), strings.Join(env, "\n"))
	same(taskwatch.FieldCgroupID, x.CgroupID, w.CgroupID)
	same(taskwatch.FieldNice, x.Nice, w.Nice)
	if ev.Task.PID == w.VPID { // both count pids in one namespace
		same(taskwatch.FieldSID, x.SID, w.SID)
	}
	if w.TTY == 0 {
		same(taskwatch.FieldTTY, x.TTY, "")
	}
	if !ev.Missing.Has(taskwatch.FieldCwd) && ev.Task.Cwd != w.Cwd {
		t.Errorf("%v: cwd is %s, and the program itself finds %s", ev.Kind, ev.Task.Cwd, w.Cwd)
	}
}

// outsideIs reports whether outer is the name of the file inner for a process
// that has started this one, as it is for what has made a chroot.
func outsideIs(outer, inner string) bool {
	file, err := os.Stat(inner)
	if err != nil {
		return false
	}
	for pid := os.Getppid(); pid > 1; {
		if same, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", pid, outer)); err == nil && os.SameFile(same, file) {
			return true
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, rest, has := strings.Cut(string(status), "\nPPid:\t")
		if err != nil || !has {
			return false
		}
		pid, _ = strconv.Atoi(strings.SplitN(rest, "\n", 2)[0])
	}
	return false
}
