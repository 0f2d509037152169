package bpf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// withoutStorage returns an object in which the helper for task storage returns
// nothing, as it does in the middle of another call: where it only looks, or where
// it would make a value.
func withoutStorage(t testing.TB, object []byte, looks, makes bool) []byte {
	t.Helper()
	object = bytes.Clone(object)
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	const call, setR4, setR0 = 0x85, 0x04b7, 0x00b7 // the first byte, and the first two, of an instruction
	replaced := 0
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_EXECINSTR == 0 {
			continue
		}
		flags := uint32(0)
		for i := s.Offset; i < s.Offset+s.Size; i += asm.InstructionSize {
			ins := object[i : i+asm.InstructionSize]
			constant := binary.LittleEndian.Uint32(ins[4:])
			if binary.LittleEndian.Uint16(ins) == setR4 {
				flags = constant
			}
			if ins[0] != call || ins[1] != 0 || constant != uint32(asm.FnTaskStorageGet) {
				continue
			}
			if flags == 0 && looks || flags != 0 && makes {
				clear(ins)
				binary.LittleEndian.PutUint16(ins, setR0)
				replaced++
			}
		}
	}
	if replaced == 0 {
		t.Fatal("the object does not call the helper")
	}
	return object
}

// breakStorage has sources that are made during the test use such objects. probes
// has them use the form for older kernels.
func breakStorage(t testing.TB, probes, looks, makes bool) {
	t.Helper()
	since, loading, probing := castsSince, _StreamBytes, probingStream
	t.Cleanup(func() { castsSince, _StreamBytes, probingStream = since, loading, probing })
	if probes {
		castsSince = math.MaxUint32
	}
	_StreamBytes, probingStream = withoutStorage(t, loading, looks, makes), withoutStorage(t, probing, looks, makes)
}

// What the helper for task storage does not find, or does not make, the kernel side
// finds and keeps elsewhere. Kernels fail now and then; here, the helper always does.
func TestMarksWithoutStorage(t *testing.T) {
	for _, c := range []struct {
		name                 string
		probes, looks, makes bool
	}{
		{"nothing is found", true, true, false},
		{"nothing is made", false, false, true},
		{"neither", true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			breakStorage(t, c.probes, c.looks, c.makes)
			cmd, _, truth := storms(t, testutil.Size(50, 200, 1000))
			w, seen := counted(t, Config{Command: cmd, Latency: DefaultLatency}, taskwatch.AllKinds, atOnce)
			w.wait(t)
			w.lostNothing(t, *seen, truth)
		})
	}
}

// A task that cannot be marked at all is out of scope. How many events that are
// nobody knows, but that there are some is told.
func TestTasksThatCannotBeMarkedAreTold(t *testing.T) {
	breakStorage(t, false, false, true)
	w := newWatch(t, Config{PID: os.Getpid()}, taskwatch.KindsOf(taskwatch.Clone), nil)
	spare := w.src.kernel.beside.Maps[streamMapSpare]
	for address := uint64(1); ; address++ { // of no task
		err := spare.Put(address, uint32(1))
		if errors.Is(err, unix.E2BIG) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	load(t, "fork", "1")
	w.until(t, func() bool { return len(w.losses) > 0 })
	w.stop(t)
	for _, l := range w.losses {
		if l.Count != 0 {
			t.Errorf("%d events are told as lost, want a number that is not known", l.Count)
		}
	}
}
