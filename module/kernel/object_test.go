package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/offsets"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel/internal/object"
)

func TestParse(t *testing.T) {
	o := parseFile(t, "veto", "testdata/modules/veto.c")
	if want := taskwatch.AllKinds &^ taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exit); o.Kinds() != want {
		t.Errorf("kinds %s, want %s", o.Kinds(), want)
	}
	if want := taskwatch.KindsOf(taskwatch.Init, taskwatch.Exec, taskwatch.UID, taskwatch.GID); o.Veto != want {
		t.Errorf("veto %s, want %s", o.Veto, want)
	}
	if o.License != "GPL" {
		t.Errorf("licence %q", o.License)
	}
	o = parseFile(t, "order", "testdata/modules/order.c")
	if got, want := o.Watchers[taskwatch.Clone], []string{"first", "second", "third"}; !slices.Equal(got, want) {
		t.Errorf("watchers %v, want those of the source in its order, %v", got, want)
	}
	if maps := o.Maps(); len(maps) != 1 || maps[0].Name != "lists" || maps[0].Type != "Array" {
		t.Errorf("maps: %+v", maps)
	}
	o = parseFile(t, "count", countC)
	if o.Description != "counts events, for tests" {
		t.Errorf("description %q", o.Description)
	}
	want := module.Param{Name: "pid", Type: "__u32", Default: uint64(0), Description: "count what this process and its children do"}
	if p := o.Params(); len(p) != 1 || p[0] != want {
		t.Errorf("parameters %+v, want %+v", p, want)
	}
}

func TestHostileSources(t *testing.T) {
	for _, c := range []struct {
		file string
		want error
		says string
	}{
		{"unlicensed", ErrLicense, "MODULE_LICENSE"},
		{"proprietary", ErrLicense, `"Proprietary"`},
		{"tailcall", taskwatch.ErrInvalid, "tail call"},
		{"pinned", taskwatch.ErrInvalid, "kept"},
		{"huge", taskwatch.ErrInvalid, "use a map"},
		{"undefined", taskwatch.ErrInvalid, "elsewhere"},
		{"xdp", taskwatch.ErrInvalid, "section xdp"},
		{"event", taskwatch.ErrInvalid, "reboot"},
		{"addresses", taskwatch.ErrInvalid, "variable names begins with an address"},
		{"bypointer", taskwatch.ErrInvalid, "watcher look on exit calls a function by a pointer"},
		{"emitint", taskwatch.ErrInvalid, "watcher send on exec: task_watcher_emit_struct() takes a pointer to a struct, not to int"},
		{"novetowatcher", taskwatch.ErrInvalid, "MODULE_VETO(init)"},
		{"anyattach", taskwatch.ErrInvalid, "MODULE_ATTACH_AT_LEAST_ONCE and no watcher of attach"},
		{"anydetach", taskwatch.ErrInvalid, "MODULE_ATTACH_AT_LEAST_ONCE and watchers of detach"},
	} {
		t.Run(c.file, func(t *testing.T) {
			o, err := Parse("m", testmodule.Object(t, "testdata/hostile/"+c.file+".c"))
			if o != nil || err == nil {
				t.Fatal("parsed")
			}
			wantError(t, err, c.want, c.says)
			t.Log(err)
		})
	}
}

func TestHostileBytes(t *testing.T) {
	good := testmodule.Object(t, countC)
	change := func(f func(b []byte)) []byte {
		b := slices.Clone(good)
		f(b)
		return b
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		b    []byte
		says string
	}{
		{"nothing", nil, "not an ELF object"},
		{"text", []byte("hello, world\n"), "not an ELF object"},
		{"a Go program", self[:min(len(self), MaxObjectSize)], "not for BPF"},
		{"another machine", change(func(b []byte) { binary.NativeEndian.PutUint16(b[18:], uint16(elf.EM_ARM)) }), "not for BPF"},
		{"an executable", change(func(b []byte) { binary.NativeEndian.PutUint16(b[16:], uint16(elf.ET_EXEC)) }), "not a relocatable object"},
		{"truncated header", good[:40], "truncated"},
		{"truncated half", good[:len(good)/2], ""},
		{"without BTF", bytes.ReplaceAll(good, []byte(".BTF\x00"), []byte(".XTF\x00")), "compile with -g"},
		{"a newer interface", bytes.ReplaceAll(good, []byte("task_watchers=1\x00"), []byte("task_watchers=9\x00")), "newer taskwatch"},
		{"not our header", bytes.ReplaceAll(good, []byte("task_watchers=1\x00"), []byte("xask_watchers=1\x00")), "task_watchers.h"},
		{"huge", make([]byte, MaxObjectSize+1), "bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := Parse("m", c.b)
			if o != nil || err == nil {
				t.Fatal("parsed")
			}
			wantError(t, err, taskwatch.ErrInvalid, c.says)
		})
	}
	t.Run("wrong byte order", func(t *testing.T) {
		b := bigEndianHeader(t)
		_, err := Parse("m", b)
		wantError(t, err, taskwatch.ErrInvalid, "byte order")
	})
}

// bigEndianHeader is an empty object of the byte order that this machine has
// not.
func bigEndianHeader(t *testing.T) []byte {
	t.Helper()
	var order binary.ByteOrder = binary.BigEndian
	data := elf.ELFDATA2MSB
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		order, data = binary.LittleEndian, elf.ELFDATA2LSB
	}
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_BPF), Version: uint32(elf.EV_CURRENT),
		Ehsize: 64, Shentsize: 64, Phentsize: 56,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(data), byte(elf.EV_CURRENT)
	var b bytes.Buffer
	if err := binary.Write(&b, order, &h); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Cut anywhere, a module is rejected or, where only debugging information is
// gone, read; it never panics.
func TestTruncatedAnywhere(t *testing.T) {
	good := testmodule.Object(t, countC)
	for n := 0; n < len(good); n += 61 {
		if _, err := Parse("m", good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were parsed", n, len(good))
		} else {
			asError(t, err)
		}
	}
}

func TestNames(t *testing.T) {
	good := testmodule.Object(t, countC)
	for _, name := range []string{"", "a b", "a/b", "ü", "a\x00", string(make([]byte, 33))} {
		if _, err := Parse(name, good); !errors.Is(err, taskwatch.ErrInvalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// fakeMap is a file descriptor that is only a number.
type fakeMap int

func (f fakeMap) FD() int { return int(f) }

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x7fELF"))
	if testmodule.Needs.Met() {
		sources, err := filepath.Glob("testdata/*/*.c")
		if err != nil {
			f.Fatal(err)
		}
		for _, src := range sources {
			f.Add(testmodule.Object(f, src))
		}
	}
	listed := func(o *Object) *link.Module {
		l := &link.Module{Code: &o.file.Code, ID: 1, Kinds: o.Kinds(), Maps: func(string) asm.FDer { return fakeMap(77) }}
		for e := range o.file.Lists {
			for _, symbol := range o.file.Lists[e] {
				l.Watched[e] = append(l.Watched[e], link.Watcher{Symbol: symbol, ID: 2, Slot: 2})
			}
		}
		return l
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func(string, []byte) (*Object, error){Parse, ParseBuiltin} {
			o, err := parse("fuzz", b)
			if err != nil {
				asError(t, err)
				continue
			}
			if err := object.CheckLicense(o.License); err != nil {
				t.Error(err)
			}
			// What was parsed can be described and linked.
			o.Params()
			o.Maps()
			for _, h := range plan.Hooks(&plan.Support{}) {
				lk := &link.Linker{Hook: h, Modules: []*link.Module{listed(o)}}
				if lk.Used() {
					lk.Off, lk.Stats, lk.Slot, lk.Carry, lk.Stash, lk.Steps = &offsets.Offsets{}, fakeMap(5), fakeMap(6), fakeMap(7), fakeMap(8), fakeMap(9)
					_, _ = lk.Link() // may be an error, never a panic
				}
			}
		}
	})
}
