package link

import (
	"math"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// errNoListener is what task_watcher_emit returns where nobody takes records.
const errNoListener = 107 // ENOTCONN

// addEmit adds the module's own task_watcher_emit, task_watcher_emit_struct or
// task_watcher_log: it puts the module's id before the arguments, and a type behind
// them, and calls the built-in that takes records.
func (lk *Linker) addEmit(l *Module, symbol, name string) error {
	provider, err := lk.provider(func(o *Code) string { return o.Emit })
	if err != nil {
		return err
	}
	body := asm.Instructions{asm.Mov.Imm(asm.R4, 0)}
	params := []btf.FuncParam{{Name: "data", Type: typePointer}, {Name: "size", Type: typeInt}}
	if symbol != emitSymbol {
		body[0] = asm.Mov.Reg(asm.R4, asm.R3)
		params = append(params, btf.FuncParam{Name: "type", Type: typeInt})
	}
	if symbol == LogSymbol {
		body = append(body, asm.Or.Imm32(asm.R4, math.MinInt32)) // kernel.EmitLog
	}
	body = append(body,
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Mov.Imm(asm.R1, int32(l.ID)),
	)
	if provider != "" {
		body = append(body, asm.Call.Label(provider))
	} else {
		body = append(body, asm.Mov.Imm(asm.R0, -errNoListener))
	}
	body = append(body, asm.Return())
	body[0] = startFunction(body[0], &btf.Func{Name: name, Type: &btf.FuncProto{Return: typeInt, Params: params}})
	lk.bodies = append(lk.bodies, body...)
	return nil
}
