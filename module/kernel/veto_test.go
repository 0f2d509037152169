package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

const vetoC = "testdata/modules/veto.c"

// attempt runs the program that tries a fork, an exec and changes of ids, and
// returns the errno of each.
func attempt(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(testutil.BuildC(t, "-static", "testdata/twvetoed.c")).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func allowed(t testing.TB) {
	t.Helper()
	if got, want := attempt(t), "fork=0 exec=0 uid=0 gid=0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestVeto(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	// Another module stands before and one behind: both are called although the
	// one between denies.
	tables := []*Table{newTable(t, Config{}), newTable(t, Config{CallStats: true})} // which changes no result
	var first []*Module
	for _, table := range tables {
		before := loadFile(t, "before", vetoC, "comm=twvetoed")
		register(t, table, before)
		first = append(first, before)
	}
	for i, c := range []struct{ param, errno, want string }{
		{"on_init", "11", "fork=11 exec=0 uid=0 gid=0"},
		{"on_exec", "13", "fork=0 exec=13 uid=0 gid=0"},
		{"on_uid", "22", "fork=0 exec=0 uid=22 gid=0"},
		{"on_gid", "133", "fork=0 exec=0 uid=0 gid=133"},
		{"on_init", "5000", "fork=1 exec=0 uid=0 gid=0"}, // no errno: EPERM
		{"on_gid", "511", "fork=0 exec=0 uid=0 gid=511"},
		{"on_exec", "512", "fork=0 exec=1 uid=0 gid=0"}, // ERESTARTSYS is the kernel's own
		{"on_init", "513", "fork=1 exec=0 uid=0 gid=0"}, // and would have the call start anew
		{"on_gid", "4095", "fork=0 exec=0 uid=0 gid=1"},
		{"on_uid", "1000000", "fork=0 exec=0 uid=1 gid=0"},
		{"on_uid", "-7", "fork=0 exec=0 uid=0 gid=0"}, // a positive result is no error
	} {
		t.Run(c.param+"="+c.errno, func(t *testing.T) {
			table, before := tables[i%2], first[i%2]
			earlier := global(t, before, "asked")
			m := loadFile(t, "veto", vetoC, "comm=twvetoed", c.param+"=y", "errno="+c.errno)
			after := loadFile(t, "after", vetoC, "comm=twvetoed")
			register(t, table, m, after)
			if got := attempt(t); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			asked := global(t, before, "asked") - earlier
			if asked != 4 { // one for each attempt: fork, exec, gid, uid
				t.Errorf("asked %d times, want 4", asked)
			}
			for _, other := range []*Module{m, after} {
				if n := global(t, other, "asked"); n != asked {
					t.Errorf("%s was asked %d times, the first module %d times", other.Name(), n, asked)
				}
			}
			if err := table.Unregister(m); err != nil {
				t.Fatal(err)
			}
			allowed(t)
			if err := table.Unregister(after); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Exactly one report of an event names the veto: the first error of a module
// that may deny. The caller gets that one.
func TestFirstVetoWinsAndIsReportedOnce(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	for _, dry := range []bool{false, true} {
		t.Run(fmt.Sprintf("dry=%v", dry), func(t *testing.T) {
			builtin := loadBuiltin(t, "testdata/modules/report.c")
			table := newTable(t, Config{DryRun: dry, Builtins: []Builtin{{Module: builtin}}})
			all := []string{"comm=twvetoed", "on_init=y", "on_exec=y", "on_uid=y", "on_gid=y"}
			first := loadFile(t, "first", vetoC, append(all, "errno=11")...)
			second := loadFile(t, "second", vetoC, append(all, "errno=12")...)
			register(t, table, first, second)
			if dry {
				allowed(t)
			} else if got, want := attempt(t), "fork=11 exec=11 uid=11 gid=11"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			n := global(t, builtin, "count")
			vetoes := map[taskwatch.Kind]int{}
			for _, r := range reports(t, builtin) {
				who, ok := table.Watcher(uint32(r.Watcher))
				if !ok {
					t.Fatalf("report of the unknown watcher %d", r.Watcher)
				}
				wantErr, wantFlags := int64(-11), uint64(ReportVeto)
				if dry {
					wantFlags |= ReportDryRun
				}
				if who.Module == "second" {
					wantErr, wantFlags = -12, 0
				}
				if r.Err != wantErr || r.Flags != wantFlags {
					t.Errorf("report %+v of %+v, want error %d and flags %d", r, who, wantErr, wantFlags)
				}
				if r.Flags&ReportVeto != 0 {
					vetoes[who.Kind]++
				}
			}
			if n != 8 {
				t.Errorf("%d reports, want 8", n)
			}
			for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Exec, taskwatch.UID, taskwatch.GID} {
				if vetoes[k] != 1 {
					t.Errorf("%d reports of a veto on %s, want 1", vetoes[k], k)
				}
			}
			infos, err := table.Modules()
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []uint64{0, 4, 0} {
				if infos[i].Vetoes != want {
					t.Errorf("%s: %d vetoes counted, want %d", infos[i].Name, infos[i].Vetoes, want)
				}
			}
		})
	}
}

// chain registers modules that are too many for one program, each changed by narrow,
// and returns what takes them out again. All at once: one by one would take as many
// times as long.
func chain(t *testing.T, table *Table, modules []*Module, narrow func(*listing)) (end func()) {
	t.Helper()
	var listed []*listing
	for _, m := range modules {
		l, err := table.list(m)
		if err != nil {
			t.Fatal(err)
		}
		narrow(l)
		listed = append(listed, l)
	}
	if err := errors.Join(table.apply(nil, listed), table.latches.change(true, listed...)); err != nil {
		t.Fatal(err)
	}
	table.modules = listed
	for h, a := range table.attached {
		if n := len(a.Current().Programs); n < 2 {
			t.Errorf("%s has %d programs: the test needs a chain", h.Name, n)
		}
	}
	return func() {
		t.Helper()
		if err := table.apply(nil, nil); err != nil {
			t.Fatal(err)
		}
		table.modules = nil
	}
}

// A veto reaches the caller also when the watchers are so many that the
// dispatcher is a chain of programs: wherever the one that denies stands.
func TestVetoAcrossStages(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	o := parseFile(t, "veto", vetoC)
	const n = 40 // of two maps each, more than one program may use
	for _, at := range []int{0, n / 2, n - 1} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			table := newTable(t, Config{})
			var modules []*Module
			for i := range n {
				copied := *o
				copied.Name = fmt.Sprintf("veto%d", i)
				params := []string{"comm=twvetoed"}
				if i == at {
					params = append(params, "on_exec=y", "errno=42")
				}
				modules = append(modules, loadObject(t, &copied, params...))
			}
			end := chain(t, table, modules, func(l *listing) { l.Kinds = taskwatch.KindsOf(taskwatch.Exec) })
			if got, want := attempt(t), "fork=0 exec=42 uid=0 gid=0"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			for _, m := range modules {
				if got := global(t, m, "asked"); got != 1 {
					t.Errorf("%s was asked %d times, want 1", m.Name(), got)
				}
			}
			end()
			allowed(t)
		})
	}
}

// A fork that is denied has had its init, and gets its free, with val 0.
func TestDeniedForkIsFreed(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	table := newTable(t, Config{})
	m := loadFile(t, "veto", vetoC, "comm=twvetoed", "on_init=y")
	register(t, table, m)
	const n = 25
	for range n {
		if got, want := attempt(t), "fork=11 exec=0 uid=0 gid=0"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	// Freed under that name are the denied forks and the processes
	// themselves; the children that ran the exec are called exe.
	eventually(t, "frees of denied forks", n, func() uint64 { return global(t, m, "free_zero") })
	eventually(t, "frees", 2*n, func() uint64 { return global(t, m, "frees") })
	if got := global(t, m, "inits"); got != n {
		t.Errorf("%d inits, want %d", got, n)
	}
	// What fork() of the C library asks for; the kernel keeps the signal
	// apart from the flags.
	const want = syscall.CLONE_CHILD_SETTID | syscall.CLONE_CHILD_CLEARTID
	if got := global(t, m, "init_val"); got != want {
		t.Errorf("init val %#x, want the clone flags %#x", got, want)
	}
}

const execguardC = "../../modules/execguard/execguard.c"

// execguard denies what lies below its prefix, by whatever name, and nothing
// else.
func TestExecguard(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	prog, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(path string) string {
		t.Helper()
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, prog, 0o755); err != nil {
			t.Fatal(err)
		}
		return full
	}
	bad, good := write("bad/a/b/c/prog"), write("badge/prog")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(bad, link); err != nil {
		t.Fatal(err)
	}
	mounted := filepath.Join(dir, "bad", "mnt")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tw", mounted, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(mounted, syscall.MNT_DETACH)
	inMount := write("bad/mnt/x/prog")

	table := newTable(t, Config{})
	// As the kernel names it: the temporary directory may be behind a link.
	real, err := filepath.EvalSymlinks(filepath.Join(dir, "bad"))
	if err != nil {
		t.Fatal(err)
	}
	m := loadFile(t, "execguard", execguardC, "prefix="+real+"/")
	register(t, table, m)
	run := func(path, cwd string) error {
		cmd := &exec.Cmd{Path: path, Args: []string{"load", "exit"}, Dir: cwd}
		return cmd.Run()
	}
	for _, c := range []struct {
		name, path, cwd string
		denied          bool
	}{
		{"absolute", bad, "", true},
		{"relative", "./prog", filepath.Dir(bad), true},
		{"dotted", filepath.Join(dir, "badge") + "/../bad/a/b/c/prog", "", true},
		{"symbolic link", link, "", true},
		{"mount below", inMount, "", true},
		{"like named", good, "", false},
	} {
		err := run(c.path, c.cwd)
		if denied := os.IsPermission(err); denied != c.denied || (err != nil) != c.denied {
			t.Errorf("%s: %v, want denied=%v", c.name, err, c.denied)
		}
	}
	if got := global(t, m, "refused"); got != 5 {
		t.Errorf("refused: got %d, want 5", got)
	}
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	if err := run(bad, ""); err != nil {
		t.Errorf("without the guard: %v", err)
	}
}

// overlay returns a directory where a file system of the kind overlay shows the
// given one, or "" on a machine that is not the test's own.
func overlay(t *testing.T, lower string) string {
	t.Helper()
	if os.Getenv("TASKWATCH_VM") == "" {
		return ""
	}
	dir := t.TempDir()
	merged := filepath.Join(dir, "merged")
	for _, name := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, dir, dir)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(merged, unix.MNT_DETACH) })
	return merged
}

// A rule by inode, by mount, or by what a path lacks holds where a path leads
// elsewhere: each of these evades the rule by path.
func TestExecguardRules(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	prog, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bad := filepath.Join(dir, "bad")
	file := filepath.Join(bad, "sub", "prog")
	must(os.MkdirAll(filepath.Dir(file), 0o755))
	must(os.WriteFile(file, prog, 0o755))
	must(os.Link(file, filepath.Join(dir, "hard")))
	must(os.WriteFile(filepath.Join(dir, "copy"), prog, 0o755))
	bound := filepath.Join(dir, "bound")
	must(os.Mkdir(bound, 0o755))
	must(syscall.Mount(filepath.Join(bad, "sub"), bound, "", syscall.MS_BIND, ""))
	defer syscall.Unmount(bound, syscall.MNT_DETACH)
	fd, err := unix.MemfdCreate("prog", 0)
	must(err)
	memfd := os.NewFile(uintptr(fd), "memfd")
	defer memfd.Close()
	_, err = memfd.Write(prog)
	must(err)
	tree, err := unix.OpenTree(unix.AT_FDCWD, bad, unix.OPEN_TREE_CLONE)
	must(err)
	defer unix.Close(tree)

	var mount unix.Statx_t
	must(unix.Statx(unix.AT_FDCWD, bound, 0, unix.STATX_MNT_ID, &mount))

	// A file system that is mounted below the directory, and once more elsewhere.
	below, elsewhere := filepath.Join(bad, "below"), filepath.Join(dir, "elsewhere")
	must(os.Mkdir(below, 0o755))
	must(os.Mkdir(elsewhere, 0o755))
	must(syscall.Mount("tw", below, "tmpfs", 0, ""))
	defer syscall.Unmount(below, syscall.MNT_DETACH)
	must(os.WriteFile(filepath.Join(below, "prog"), prog, 0o755))
	must(syscall.Mount(below, elsewhere, "", syscall.MS_BIND, ""))
	defer syscall.Unmount(elsewhere, syscall.MNT_DETACH)

	merged := overlay(t, bad)
	outside := testutil.BuildC(t, "-static", "testdata/outside.c")
	table := newTable(t, Config{})

	ways := map[string]func() *exec.Cmd{
		"path":      func() *exec.Cmd { return &exec.Cmd{Path: file} },
		"bind":      func() *exec.Cmd { return &exec.Cmd{Path: filepath.Join(bound, "prog")} },
		"hard link": func() *exec.Cmd { return &exec.Cmd{Path: filepath.Join(dir, "hard")} },
		"copy":      func() *exec.Cmd { return &exec.Cmd{Path: filepath.Join(dir, "copy")} },
		"memfd":     func() *exec.Cmd { return &exec.Cmd{Path: "/proc/self/fd/3", ExtraFiles: []*os.File{memfd}} },
		"detached":  func() *exec.Cmd { return &exec.Cmd{Path: fmt.Sprintf("/proc/%d/fd/%d/sub/prog", os.Getpid(), tree)} },
		"user namespace": func() *exec.Cmd {
			return &exec.Cmd{Path: filepath.Join(dir, "copy"), SysProcAttr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}}
		},
		"mounted below": func() *exec.Cmd { return &exec.Cmd{Path: filepath.Join(below, "prog")} },
		"the same":      func() *exec.Cmd { return &exec.Cmd{Path: filepath.Join(elsewhere, "prog")} },
		// By a mount that was made in a user namespace, from without, when it is gone.
		"given up": func() *exec.Cmd {
			return &exec.Cmd{Path: outside, Args: []string{"outside", "tree", filepath.Dir(file), "prog"}}
		},
	}
	if merged != "" {
		ways["overlay given up"] = func() *exec.Cmd {
			return &exec.Cmd{Path: outside, Args: []string{"outside", "overlay", filepath.Dir(file), "prog"}}
		}
		ways["overlay"] = func() *exec.Cmd { return &exec.Cmd{Path: filepath.Join(merged, "sub", "prog")} }
	}
	for _, c := range []struct {
		rule   string
		params []string
		denies string
	}{
		{"prefix", []string{param("prefix", bad+"/")}, "path,mounted below"},
		{"directory", idsOf(t, bad), "path,bind,detached,given up,mounted below"},
		{"renamed directory", idsOf(t, filepath.Dir(file)), "path,bind,detached"},
		{"file", idsOf(t, file), "path,bind,detached,given up,hard link"},
		{"mount", []string{param("mount", mount.Mnt_id)}, "bind"},
		{"incomplete", []string{"deny_incomplete=y"}, "memfd,detached,given up,overlay given up"},
		{"namespaces", []string{"deny_userns=y"}, "user namespace,given up,overlay given up"},
		{"nothing", nil, ""},
		{"file of an overlay", idsOf(t, filepath.Join(cmp.Or(merged, bad), "sub", "prog")), "overlay"},
	} {
		if merged == "" && c.denies == "overlay" {
			continue
		}
		t.Run(c.rule, func(t *testing.T) {
			m := loadFile(t, "execguard", execguardC, c.params...)
			register(t, table, m)
			defer func() { must(table.Unregister(m)) }()
			if c.rule == "renamed directory" {
				sub := filepath.Dir(file)
				must(os.Rename(sub, sub+"2"))
				defer os.Rename(sub+"2", sub)
				if err := (&exec.Cmd{Path: sub + "2/prog", Args: []string{"load", "exit"}}).Run(); !os.IsPermission(err) {
					t.Errorf("by its new name: %v, want EACCES", err)
				}
				return
			}
			denies := strings.Split(c.denies, ",")
			for name, way := range ways {
				cmd := way()
				if cmd.Args == nil {
					cmd.Args = []string{"load", "exit"}
				}
				err := cmd.Run()
				if cmd.Path == outside && cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == int(syscall.EACCES) {
					err = os.ErrPermission
				}
				if want := slices.Contains(denies, name); errors.Is(err, os.ErrPermission) != want || (err != nil) != want {
					t.Errorf("%s: %v, want denied=%v", name, err, want)
				}
			}
		})
	}
}
