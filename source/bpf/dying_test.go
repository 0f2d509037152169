package bpf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// unmappable writes a program whose only segment lies where nothing can be
// mapped: the kernel notices when the old program is gone already.
func unmappable(t *testing.T) string {
	t.Helper()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	header := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: 0x400000, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: 0x7ffffffffff00000, Filesz: 0x1000, Memsz: 0x1000, Align: 0x10000,
	}
	var b bytes.Buffer
	for _, part := range []any{header, segment, [0x1000]byte{}} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "unmappable")
	if err := os.WriteFile(file, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// Who dies in an exec that cannot fail any more has the new name, and no
// program: neither the old one nor the new one.
func TestDeathInAnExec(t *testing.T) {
	testutil.Root(t)
	file := unmappable(t)
	w := newWatch(t, Config{PID: os.Getpid()}, taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit), func(ev *taskwatch.Event) bool {
		return ev.Task.Comm == "unmappable"
	})
	if err := exec.Command(file).Run(); !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("it has not died: %v", err)
	}
	w.until(t, func() bool { return len(w.events) > 0 })
	events := w.stop(t)
	ev := events[0]
	if len(events) != 1 || ev.Kind != taskwatch.Exit || ev.Exit.Signal != int(unix.SIGSEGV) && ev.Exit.Signal != int(unix.SIGKILL) {
		t.Fatalf("%d events, the first %+v; want a death", len(events), ev)
	}
	if ev.Missing&(taskwatch.FieldExe|taskwatch.FieldArgv) != taskwatch.FieldExe|taskwatch.FieldArgv || ev.Task.Exe != "" || ev.Task.Argv != nil {
		t.Errorf("exe %q, argv %q, missing %v", ev.Task.Exe, ev.Task.Argv, ev.Missing)
	}
}

// The argv of a task from before the start may be what its program has written
// over it: it is marked then.
func TestOverwrittenArgv(t *testing.T) {
	testutil.Root(t)
	program := testutil.BuildC(t, "testdata/title.c")
	for _, c := range []struct {
		how  string
		cut  bool
		want string
	}{
		{"not", false, program + " not some more arguments"},
		{"nul", true, "title: padded"},
		{"environ", true, "title: into the environment"},
	} {
		cmd, _ := testutil.Hold(t, exec.Command(program, c.how, "some", "more", "arguments"))
		w := newWatch(t, Config{PID: cmd.Process.Pid}, taskwatch.KindsOf(taskwatch.Exit), nil)
		cmd.Release(t)
		events := w.wait(t)
		got := strings.Join(events[0].Task.Argv, " ")
		if len(events) != 1 || events[0].Task.ArgvCut != c.cut || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: argv %q, cut %v; want %q, %v", c.how, got, events[0].Task.ArgvCut, c.want, c.cut)
		}
	}
}
