package trial

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
	"github.com/taskwatch/taskwatch/module/kernel/internal/machine"
	"github.com/taskwatch/taskwatch/module/kernel/internal/object"
	"github.com/taskwatch/taskwatch/module/kernel/internal/power"
)

// trialHost is what the watchers of a trial can call.
type trialHost struct{ *Trial }

// Helper calls a helper about tasks or the time.
func (t trialHost) Helper(fn asm.BuiltinFunc, args [5]uint64) (uint64, error) {
	r, ok, err := t.world.Helper(fn, args)
	if !ok {
		err = machine.Unsupported("it calls %s(), which a simulation does not have", power.HelperName(fn))
	}
	return r, err
}

// Task reports whether there is a task at an address, and whether it may have storage.
func (t trialHost) Task(addr uint64) (there, lasting bool) { return t.world.At(addr) }

// Extern takes records and lines of the log.
func (t trialHost) Extern(name string, a [5]uint64) (uint64, error) {
	const maxRecord = 4096
	size := int(uint32(a[1]))
	if size == 0 || size > maxRecord {
		return 0, machine.Unsupported("it sends %d bytes, and may send 1 to %d", size, maxRecord)
	}
	data, err := t.machine.Text(a[0], size)
	if err != nil {
		return 0, err
	}
	if name == link.LogSymbol {
		t.logLine(data, a[2])
		return 0, nil
	}
	t.counts.Records++
	if t.opts.Record == nil {
		return 0, nil
	}
	if typ := a[2]; name == link.EmitStructSymbol && typ > 0 && typ <= uint64(len(t.object.Emits)) {
		if text, fits := cvalue.AppendJSON(nil, t.object.Emits[typ-1], data); fits {
			data = text
		}
	}
	t.opts.Record(data)
	return 0, nil
}

func (t *Trial) logLine(text []byte, level uint64) {
	if t.opts.Log == nil || level >= uint64(len(module.LogLevels)) {
		return
	}
	text, _, _ = bytes.Cut(text, []byte{0})
	t.opts.Log(module.LogLevels[level], strings.TrimRight(string(text), "\n"))
}

// relocate finds the fields that a function uses in what recordings have. An
// instruction that uses another one gets a reason why it cannot run.
func (t *Trial) relocate(body asm.Instructions, unsupported map[*asm.Instruction]string) error {
	for i := range body {
		ins := &body[i]
		if t.asksForFunction(ins) {
			*ins = ins.WithReference("") // 0: it is not there
			continue
		}
		relo := btf.CORERelocationMetadata(ins)
		if relo == nil {
			continue
		}
		fixups, err := btf.CORERelocate([]*btf.CORERelocation{relo}, []*btf.Spec{t.world.Types()}, t.object.Spec.ByteOrder,
			func(btf.Type) (btf.TypeID, error) { return 0, unix.ENOTSUP })
		if err != nil || unsatisfied(fixups[0].String()) {
			unsupported[ins] = fmt.Sprintf("it uses %s, which recordings do not have", object.FieldOf(t.object.Spec.Types, relo))
			continue
		}
		if err := fixups[0].Apply(ins); err != nil {
			return err
		}
	}
	return nil
}

// asksForFunction reports whether an instruction loads the address of a function of the
// kernel, as kernel_has_function() does.
func (t *Trial) asksForFunction(ins *asm.Instruction) bool {
	var f *btf.Func
	return ins.OpCode.IsDWordLoad() && !ins.IsLoadFromMap() && !ins.IsLoadOfFunctionPointer() &&
		ins.Reference() != "" && t.object.Spec.Types.TypeByName(ins.Reference(), &f) == nil
}

// unsatisfied reports whether a relocation found nothing: a question for a field,
// too, since the kernel may have what a recording does not.
func unsatisfied(fixup string) bool {
	return object.Poisoned(fixup) || strings.HasPrefix(fixup, "field_exists=") && strings.HasSuffix(fixup, "->0")
}
