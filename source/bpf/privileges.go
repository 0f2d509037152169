package bpf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// capability numbers (include/uapi/linux/capability.h).
const (
	capSysAdmin = 21
	capPerfmon  = 38
	capBPF      = 39
)

// explain adds to an error of loading what is missing, where that can be
// told.
func explain(err error) error {
	var ve *ebpf.VerifierError
	missing := missingCapabilities()
	if missing != "" && !errors.Is(err, unix.EPERM) {
		// The library tries without types what the kernel denies with them, and
		// returns what is wrong with that.
		err = fmt.Errorf("%w (%v)", unix.EPERM, err)
	}
	switch {
	case missing != "":
		return fmt.Errorf("bpf: %w: this process lacks %s; run it as root or give it these capabilities", err, missing)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("bpf: %w: this process has the capabilities, so a seccomp profile, an LSM or kernel lockdown forbids it; see the journal", err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE): // the verifier has no part in it
		return fmt.Errorf("bpf: %w: this process may have no more files: raise the limit (ulimit -n, or LimitNOFILE= of its unit)", unix.EMFILE)
	case features.ReadKernel.Probe().Answer == features.No: // which no error tells
		return fmt.Errorf("bpf: %w: %s", errors.ErrUnsupported, features.ReadKernel.Probe().Reason)
	case errors.As(err, &ve):
		return fmt.Errorf("bpf: this kernel's verifier rejects a program: %w", err)
	}
	return fmt.Errorf("bpf: %w", err)
}

// missingCapabilities names what this process lacks of CAP_BPF and
// CAP_PERFMON, for which CAP_SYS_ADMIN stands too.
func missingCapabilities() string {
	status, err := procfs.OwnStatus(true)
	if err != nil || status.CapEff>>capSysAdmin&1 == 1 {
		return ""
	}
	caps := status.CapEff
	var names []string
	if caps>>capBPF&1 == 0 {
		names = append(names, "CAP_BPF")
	}
	if caps>>capPerfmon&1 == 0 {
		names = append(names, "CAP_PERFMON")
	}
	return strings.Join(names, " and ")
}

// initialPIDNamespace reports whether pids of the kernel mean the same here.
func initialPIDNamespace() bool {
	initial, err := procfs.InInitialNamespace(procfs.PIDNamespace)
	return err != nil || initial
}
