package kernel

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/module/kernel/internal/power"
)

// checkPowers refuses calls that no module may make, or that this one has not
// asked for.
func (o *Object) checkPowers(function string, ins *asm.Instruction) error {
	if o.code.Builtin || !ins.IsKfuncCall() && !ins.IsBuiltinCall() {
		return nil
	}
	name, needed, err := power.Of(ins)
	if err != nil {
		return invalid("%s calls %w", link.InWords(function), err)
	}
	if needed != "" && !slices.Contains(o.Powers, needed) {
		return invalid("%s calls %s, which needs a power that the module does not ask for: add MODULE_POWER(%s), which is shown to the users who load it", link.InWords(function), name, needed)
	}
	return nil
}
