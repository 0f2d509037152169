package vm

import (
	"fmt"
	"runtime"
)

// Arch is a processor: GOARCH, which is also Debian's name for it.
type Arch string

// The processors that machines can have, whatever the host's is.
const (
	AMD64 Arch = "amd64"
	ARM64 Arch = "arm64"
)

// HostArch is the host's own.
const HostArch = Arch(runtime.GOARCH)

// hardware is what differs between the machines of two processors.
type hardware struct {
	qemu    string   // the emulator
	machine []string // its arguments
	params  string   // kernel parameters
	console string   // the terminal of the kernel's messages
	output  string   // that of the command
	port    []string // QEMU's arguments for the second one, whose chardev is "output"
}

var hardwares = map[Arch]*hardware{
	AMD64: {
		qemu: "qemu-system-x86_64", machine: []string{"-machine", "pc", "-cpu", "max"},
		params:  "no_timer_check", // a host that is busy gives too few ticks while the kernel counts them, and it panics
		console: "ttyS0", output: "ttyS1", port: []string{"-serial", "chardev:output"},
	},
	// The virt machine has one serial port; the second comes by PCI. This processor
	// has pages of 16 KiB, which the cortex-a72 does not; newer ones have pointer
	// authentication, which is slow to emulate.
	ARM64: {
		qemu: "qemu-system-aarch64", machine: []string{"-machine", "virt", "-cpu", "cortex-a76"},
		console: "ttyAMA0", output: "ttyS0", port: []string{"-device", "pci-serial,chardev=output"},
	},
}

// ParseArch returns the processor of that name.
func ParseArch(name string) (Arch, error) {
	_, err := Arch(name).lookup()
	return Arch(name), err
}

func (a Arch) lookup() (*hardware, error) {
	if h := hardwares[a]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("vm: unknown processor %q: want amd64 or arm64", string(a))
}

// addition is what has to be run before apt knows the packages for a.
func (a Arch) addition() string {
	if a == HostArch {
		return ""
	}
	return "dpkg --add-architecture " + string(a) + " and "
}
