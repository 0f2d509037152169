package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// named returns the file of a program that has no code of its own: it names an
// interpreter, as programs with libraries do, and the kernel starts that one.
func named(interpreter string) []byte {
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	const headers, text = 64 + 2*56, 0x10000000
	path := append([]byte(interpreter), 0)
	size := uint64(headers + len(path))
	var b bytes.Buffer
	for _, part := range []any{
		[]byte("\x7fELF\x02\x01\x01"), make([]byte, 9),
		uint16(2), machine, uint32(1), uint64(text), uint64(64), uint64(0), uint32(0), // a program for that processor
		uint16(64), uint16(56), uint16(2), uint16(64), uint16(0), uint16(0),
		uint32(3), uint32(4), uint64(headers), uint64(text + headers), uint64(0), uint64(len(path)), uint64(len(path)), uint64(1), // PT_INTERP
		uint32(1), uint32(5), uint64(0), uint64(text), uint64(0), size, size, uint64(0x10000), // PT_LOAD
		path,
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic(err) // of a buffer
		}
	}
	return b.Bytes()
}

// A rule holds for whatever an exec goes through: the program, its interpreter, and
// each interpreter between these, which a script or binfmt_misc names. It does not
// hold for the interpreter that a program's file names.
func TestExecguardInterpreters(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	quietKernel(t)
	prog, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bad"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	script := func(name, interpreter string) string {
		t.Helper()
		return write(name, []byte("#!"+interpreter+"\n"))
	}
	good, bad := write("good", prog), write("bad/prog", prog)
	badScript := script("bad/script", good)
	between := script("between", badScript)
	type guarded struct {
		name, path string
		denied     bool
	}
	programs := []guarded{
		{"program", bad, true},
		{"script", badScript, true},
		{"interpreter", script("by-bad", bad), true},
		{"script between", between, true},
		{"script further between", script("further", between), true},
		{"interpreter after another", script("last", script("by-bad2", bad)), true},
		{"others", script("other", script("other2", good)), false},
		{"interpreter of a program", write("named", named(bad)), false},
	}
	if os.Getenv("TASKWATCH_VM") != "" {
		for _, b := range []struct {
			name, interpreter, flags string
			denied                   bool
		}{
			{"twbad", bad, "", true},
			{"twopen", bad, "F", true}, // opened now
			{"twcreds", bad, "OC", true},
			{"twscript", badScript, "", true},
			{"twdeep", between, "P", true},
			{"twgood", good, "POCF", false},
		} {
			runBy(t, b.name, b.interpreter, b.flags)
			programs = append(programs, guarded{"binfmt_misc: " + b.name, write(b.name, []byte(strings.ToUpper(b.name)+"\n")), b.denied})
		}
	}
	try := func(loaded bool) (denied uint64) {
		t.Helper()
		for _, p := range programs {
			err := (&exec.Cmd{Path: p.path, Args: []string{"load", "exit"}}).Run()
			var status *exec.ExitError // of a script, whose arguments load does not know
			ran := err == nil || errors.As(err, &status)
			if want := loaded && p.denied; errors.Is(err, os.ErrPermission) != want || ran == want {
				t.Errorf("%s: %v, want denied=%v", p.name, err, want)
			}
			if loaded && p.denied {
				denied++
			}
		}
		return denied
	}
	table := newTable(t, Config{})
	m := loadFile(t, "execguard", execguardC, "prefix="+filepath.Join(dir, "bad")+"/")
	register(t, table, m)
	denied := try(true)
	if got := global(t, m, "refused"); got != denied {
		t.Errorf("%d execs are counted, and %d were denied", got, denied)
	}
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	try(false)
}

// Of a file that was opened by its handle the kernel knows no path: rules that need
// one take it for a match.
func TestExecguardByHandle(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto, needsVerity)
	prog, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	root := ext4(t, "verity")
	dir := filepath.Join(root, "bad")
	file := filepath.Join(dir, "prog")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(file, prog, 0o755)); err != nil {
		t.Fatal(err)
	}
	ids := idsOf(t, dir)
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, file, 0)
	if err != nil {
		t.Fatal(err)
	}
	forgetNames(t)
	mount, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(mount)
	fd, err := unix.OpenByHandleAt(mount, handle, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	opened := os.NewFile(uintptr(fd), "prog")
	defer opened.Close()
	if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil || strings.Contains(name, "bad") {
		t.Fatalf("the file has the name %s, %v; the test needs one without", name, err)
	}
	tryRules(t, []ruleCase{
		{"nothing", nil, false},
		{"prefix", []string{"prefix=" + dir + "/"}, true},
		{"directory", ids, true},
		{"incomplete", []string{"deny_incomplete=y"}, true},
		{"namespaces", []string{"deny_userns=y"}, false},
	}, func() error {
		return (&exec.Cmd{Path: "/proc/self/fd/3", Args: []string{"load", "exit"}, ExtraFiles: []*os.File{opened}}).Run()
	})
}

// On a file system that ignores case a rule by path holds for the letters that were
// looked up first, and rules by file and directory for all.
func TestExecguardLetters(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto, needsVerity)
	prog, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	root := ext4(t, "casefold")
	folds := filepath.Join(root, "folds")
	if err := os.Mkdir(folds, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(folds)
	if err != nil {
		t.Fatal(err)
	}
	const casefold = 0x40000000 // FS_CASEFOLD_FL
	err = unix.IoctlSetPointerInt(int(d.Fd()), unix.FS_IOC_SETFLAGS, casefold)
	d.Close()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(folds, "bad")
	file := filepath.Join(dir, "prog")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(file, prog, 0o755)); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(folds, "BAD", "Prog")
	tryRules(t, []ruleCase{
		{"nothing", nil, false},
		{"prefix", []string{"prefix=" + dir + "/"}, false},
		{"directory", idsOf(t, dir), true},
		{"file", idsOf(t, file), true},
	}, func() error {
		forgetNames(t)
		return runExit(other)
	})
}

// On an overlay mount over several file systems a file has another device for stat than
// for the kernel, whose mountinfo tells.
func TestExecguardOverlay(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto, needsVerity)
	prog, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	lower := ext4(t, "verity")
	if err := os.WriteFile(filepath.Join(lower, "prog"), prog, 0o755); err != nil {
		t.Fatal(err)
	}
	merged := overlay(t, lower)
	file := filepath.Join(merged, "prog")
	list, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var major, minor string
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); f[4] == merged {
			major, minor, _ = strings.Cut(f[2], ":")
		}
	}
	byStat := idsOf(t, file)
	byMount := []string{"major=" + major, "minor=" + minor, byStat[2]}
	if slices.Equal(byStat, byMount) {
		t.Fatalf("%v is what stat shows, and mountinfo; the test needs two", byStat)
	}
	tryRules(t, []ruleCase{{"stat", byStat, false}, {"mountinfo", byMount, true}}, func() error { return runExit(file) })
}

// ruleCase is a rule of execguard, and whether it denies what is tried.
type ruleCase struct {
	name   string
	params []string
	denied bool
}

// runExit runs a copy of testdata/load.c, which ends at once.
func runExit(path string) error { return (&exec.Cmd{Path: path, Args: []string{"load", "exit"}}).Run() }

// tryRules tries a run under each rule alone.
func tryRules(t *testing.T, cases []ruleCase, run func() error) {
	t.Helper()
	table := newTable(t, Config{})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := loadFile(t, "execguard", execguardC, c.params...)
			register(t, table, m)
			if err := run(); errors.Is(err, os.ErrPermission) != c.denied || (err != nil) != c.denied {
				t.Errorf("%v, want denied=%v", err, c.denied)
			}
			if err := table.Unregister(m); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// forgetNames has the kernel forget the names of files that nobody uses.
func forgetNames(t *testing.T) {
	t.Helper()
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0o200); err != nil {
		t.Fatal(err)
	}
}

// idsOf returns the parameters of a rule for the file or the directory.
func idsOf(t *testing.T, path string) []string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return []string{param("major", unix.Major(st.Dev)), param("minor", unix.Minor(st.Dev)), param("ino", st.Ino)}
}
