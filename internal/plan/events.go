package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// Event says how a table learns of one event on a kernel.
type Event struct {
	Observe []string // the hooks where it is seen; none where it cannot be
	Veto    string   // the hook where it can be denied, or ""

	// Skippable says that a denial does not always come about, because the
	// kernel passes by the hook while another task is preempted inside.
	Skippable bool

	Why string // why it cannot be seen in full, or not be denied; "" if nothing is missing
}

// Events says for every event what a table makes of the support.
func (s *Support) Events() (list [taskwatch.NumKinds]Event) {
	var misses, besideMaps [taskwatch.NumKinds][]string
	for _, h := range Hooks(s) {
		for _, c := range h.Calls {
			if c.To == OnceVetoed || c.To == Afterwards || c.To == Stepwise {
				continue
			}
			e := &list[c.Kind]
			miss := h.interruptible() && s.Preemption.Interrupts()
			if decides := h.Veto && (c.To == Deciders || c.To == Everyone) && c.Kind.Vetoable(); decides {
				e.Skippable = e.Skippable || miss
			}
			if miss && !slices.Contains(misses[c.Kind], h.Name) {
				misses[c.Kind] = append(misses[c.Kind], h.Name)
			}
			if h.besideMaps() && s.Preemption.Interrupts() && !slices.Contains(besideMaps[c.Kind], h.Name) {
				besideMaps[c.Kind] = append(besideMaps[c.Kind], h.Name)
			}
			switch {
			case h.Veto && c.To == Deciders:
				e.Veto = cmp.Or(e.Veto, h.Name)
			case h.Veto && c.To == Observers:
				e.Observe = append(e.Observe, h.Name)
			case h.Veto && c.Kind.Vetoable():
				e.Veto = h.Name
				e.Observe = append(e.Observe, h.Name)
			default:
				e.Observe = append(e.Observe, h.Name)
			}
		}
	}
	for k := range list {
		e := &list[k]
		var why []string
		if taskwatch.Kind(k).Vetoable() && e.Veto == "" {
			why = append(why, fmt.Sprintf("cannot be denied: LSM programs: %v; fmod_ret programs: %v", s.LSM, s.ModifyReturn))
		}
		if taskwatch.Kind(k) == taskwatch.Free && s.LSM != nil && s.FEntry != nil {
			why = append(why, "modules do not see every free: kernels hold back those of whole bursts of threads; the source infers them")
		}
		if taskwatch.Kind(k) == taskwatch.UID || taskwatch.Kind(k) == taskwatch.GID {
			why = append(why, s.idGaps()...)
		}
		if len(misses[k]) > 0 {
			why = append(why, fmt.Sprintf("the kernel skips %s while another task is preempted inside (preemption: %s); missed events are counted",
				strings.Join(misses[k], " and "), cmp.Or(s.Preemption, "unknown")))
		}
		if len(besideMaps[k]) > 0 {
			why = append(why, fmt.Sprintf("the kernel skips %s while a task that reads or changes a BPF map is preempted (preemption: %s); missed events are counted since Linux 6.7",
				strings.Join(besideMaps[k], " and "), cmp.Or(s.Preemption, "unknown")))
		}
		if e.Skippable {
			why = append(why, "a denial can be skipped in the same way; --allow-best-effort accepts that")
		}
		e.Why = strings.Join(why, "; ")
	}
	return list
}

// idGaps says which changes of ids are not seen.
func (s *Support) idGaps() []string {
	if s.FEntry == nil {
		return nil
	}
	why := []string{fmt.Sprintf("system calls of 32-bit programs are not seen: fentry programs: %v", s.FEntry)}
	if s.PrepareExec != nil {
		why = append(why, fmt.Sprintf("changes by exec are not seen: %v", s.PrepareExec))
	}
	if s.Syscalls != nil {
		why = append(why, fmt.Sprintf("changes by system calls are not seen: %v", s.Syscalls))
	}
	return why
}
