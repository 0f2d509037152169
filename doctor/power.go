package doctor

import (
	"os"
	"strings"

	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/module"
)

// probePower says whether the kernel lets a module have a power.
func probePower(name string) features.Result {
	if name == module.PowerResult {
		return features.LSM.Probe() // there alone a watcher may call what changes results
	}
	r := features.TracepointBTF.Probe()
	if r.Answer != features.Yes || name != module.PowerUserMemory {
		return r
	}
	// To load such a program would put a warning into the kernel's log.
	lockdown, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err == nil && !strings.Contains(string(lockdown), "[none]") {
		return features.Result{Answer: features.No, Reason: "the kernel is locked down: " + strings.TrimSpace(string(lockdown))}
	}
	return r
}
