package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// needsFUSE is met where the test can serve a file system.
var needsFUSE = testutil.Need{
	What:   "a machine of the test's own whose kernel has FUSE built in",
	Remedy: "run the test in a VM with Linux 6.12",
	Met: func() bool {
		known, err := os.ReadFile("/proc/filesystems")
		return os.Getenv("TASKWATCH_VM") != "" && err == nil && strings.Contains(string(known), "\tfuse\n")
	},
}

// served is a file system that this process serves, as its owner may: it has a
// program and a script, and its directory any number.
type served struct {
	files [2][]byte     // of the nodes 2 and 3
	root  atomic.Uint64 // the number of the directory
	asked chan struct{} // gets one when the script is read, which waits for the next
	goOn  chan struct{}
}

const (
	servedProgram = 2 + iota
	servedScript
)

// The requests that are answered; include/uapi/linux/fuse.h of the kernel has them.
const (
	fuseLookup      = 1
	fuseForget      = 2
	fuseGetAttr     = 3
	fuseOpen        = 14
	fuseRead        = 15
	fuseRelease     = 18
	fuseFlush       = 25
	fuseInit        = 26
	fuseOpenDir     = 27
	fuseReleaseDir  = 29
	fuseInterrupt   = 36
	fuseBatchForget = 42
)

// attr is a struct fuse_attr.
func (s *served) attr(node uint64) []byte {
	a := make([]byte, 88)
	number, mode, size := node, uint32(unix.S_IFREG|0o755), 0
	if node == 1 {
		number, mode = s.root.Load(), unix.S_IFDIR|0o755
	} else {
		size = len(s.files[node-2])
	}
	binary.NativeEndian.PutUint64(a, number)
	binary.NativeEndian.PutUint64(a[8:], uint64(size))
	binary.NativeEndian.PutUint32(a[60:], mode)
	binary.NativeEndian.PutUint32(a[64:], 1)
	return a
}

// answer returns what follows the header of an answer; nothing is kept by the kernel.
func (s *served) answer(op uint32, node uint64, in []byte) ([]byte, unix.Errno) {
	switch op {
	case fuseInit:
		out := make([]byte, 64)
		binary.NativeEndian.PutUint32(out, 7)
		binary.NativeEndian.PutUint32(out[4:], 31)
		binary.NativeEndian.PutUint32(out[20:], 1<<16) // max_write
		return out, 0
	case fuseLookup:
		found := map[string]uint64{"prog": servedProgram, "script": servedScript}[string(bytes.TrimRight(in, "\x00"))]
		if found == 0 {
			return nil, unix.ENOENT
		}
		out := make([]byte, 40)
		binary.NativeEndian.PutUint64(out, found)
		return append(out, s.attr(found)...), 0
	case fuseGetAttr:
		return append(make([]byte, 16), s.attr(node)...), 0
	case fuseOpen, fuseOpenDir:
		return make([]byte, 16), 0
	case fuseRead:
		if node == servedScript && s.asked != nil {
			s.asked <- struct{}{}
			<-s.goOn
		}
		file := s.files[node-2]
		from := min(binary.NativeEndian.Uint64(in[8:]), uint64(len(file)))
		return file[from:min(from+uint64(binary.NativeEndian.Uint32(in[16:])), uint64(len(file)))], 0
	case fuseFlush, fuseRelease, fuseReleaseDir:
		return nil, 0
	}
	return nil, unix.ENOSYS
}

// serve mounts the file system and returns its directory.
func (s *served) serve(t *testing.T) string {
	t.Helper()
	const in, out = 40, 16 // sizes of headers
	dir := filepath.Join(t.TempDir(), "served")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("served", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		b := make([]byte, 1<<17)
		for {
			n, err := unix.Read(fd, b)
			switch {
			case err == unix.EINTR || err == unix.ENOENT: // the request is no more
				continue
			case err != nil:
				done <- err
				return
			}
			op, node := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint64(b[16:])
			if op == fuseForget || op == fuseBatchForget || op == fuseInterrupt {
				continue
			}
			body, errno := s.answer(op, node, b[in:n])
			reply := append(make([]byte, out), body...)
			binary.NativeEndian.PutUint32(reply, uint32(len(reply)))
			binary.NativeEndian.PutUint32(reply[4:], uint32(-int32(errno)))
			copy(reply[8:], b[8:16])
			unix.Write(fd, reply) // fails for who has not waited
		}
	}()
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
		if err := <-done; err != unix.ENODEV { // it is unmounted
			t.Error(err)
		}
		unix.Close(fd)
	})
	return dir
}

// Where a program serves the file system, or another machine does, the number of a file
// is what that says: a rule for a directory holds as long as it says the same. By
// path, by mount and for want of a digest, what is there is denied.
func TestExecguardServed(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto, needsFUSE)
	prog, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	s := &served{files: [2][]byte{prog}}
	s.root.Store(1)
	dir := s.serve(t)
	ids := idsOf(t, dir)
	run := func() error { return runServed(filepath.Join(dir, "prog")) }
	always := []ruleCase{
		{"nothing", nil, false},
		{"prefix", []string{"prefix=" + dir + "/"}, true},
		{"mount", []string{param("mount", mountOf(t, dir))}, true},
		{"digest", []string{"deny_no_verity=y"}, true},
	}
	tryRules(t, append(always, ruleCase{"directory", ids, true}), run)
	s.root.Store(99)
	if now := idsOf(t, dir); now[2] != param("ino", 99) {
		t.Fatalf("the directory has %v; the test needs another number", now)
	}
	tryRules(t, append(always, ruleCase{"directory with another number", ids, false}), run)
}

// runServed has a shell run a program that this process serves: until an exec is done, a
// child that this process makes holds up the thread that would have to answer.
func runServed(path string) error {
	err := exec.Command("sh", "-c", `exec "$0" exit`, path).Run()
	if status := (*exec.ExitError)(nil); errors.As(err, &status) && status.ExitCode() == 126 {
		return os.ErrPermission
	}
	return err
}

// mountOf returns the number of the mount at a directory.
func mountOf(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); f[4] == dir {
			n, err := strconv.Atoi(f[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("nothing is mounted at %s", dir)
	return 0
}

// An exec that began before a rule was there is asked about what it comes to afterwards: who
// serves the script holds the exec up as long as they like.
func TestExecguardHeldUp(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto, needsFUSE)
	prog, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, prog, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &served{files: [2][]byte{prog, []byte("#!" + bad + "\n")}, asked: make(chan struct{}), goOn: make(chan struct{})}
	s.root.Store(1)
	script := filepath.Join(s.serve(t), "script")
	table := newTable(t, Config{})
	m := loadFile(t, "execguard", execguardC, "prefix="+bad)
	ran := make(chan error)
	go func() { ran <- runServed(script) }()
	<-s.asked
	register(t, table, m)
	s.goOn <- struct{}{}
	if err := <-ran; !errors.Is(err, os.ErrPermission) {
		t.Errorf("a script whose interpreter was forbidden meanwhile: %v, want permission denied", err)
	}
	if got := global(t, m, "refused"); got != 1 {
		t.Errorf("%d denials are counted, want 1", got)
	}
}
