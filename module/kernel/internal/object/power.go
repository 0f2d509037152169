package object

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/module/kernel/internal/power"
)

// checkPowers rejects calls that no module may make, or that this one has not
// asked for.
func (f *File) checkPowers(function string, ins *asm.Instruction) error {
	if f.Code.Builtin || !ins.IsKfuncCall() && !ins.IsBuiltinCall() {
		return nil
	}
	name, needed, err := power.Of(ins)
	if err != nil {
		return Invalid("%s calls %w", link.InWords(function), err)
	}
	if needed != "" && !slices.Contains(f.Info.Powers, needed) {
		return Invalid("%s calls %s, which needs a power that the module does not ask for: add MODULE_POWER(%s), which is shown to the users who load it", link.InWords(function), name, needed)
	}
	return nil
}
