package bpf

import (
	"fmt"
	"os"
	"runtime"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// setVariables tells the programs what they are to watch, and what this machine is like.
func setVariables(spec *ebpf.CollectionSpec, cfg *Config, k *half) error {
	var initEarly, initSkippable, cloneIsInit, ownOnly uint32 = 0, 0, 1, 0
	if k.initIsEarly() {
		initEarly, cloneIsInit = 1, 0
	}
	if k.initIsSkippable() {
		initSkippable = 1
	}
	if cfg.scope() == scopeTree {
		ownOnly = 1
	}
	v1, systemd := procfs.Hierarchies()
	for name, value := range map[string]any{
		streamVarScope:               cfg.scope(),
		streamVarNeverWanted:         k.never,
		streamVarScopePid:            int32(cfg.PID),
		streamVarScopePath:           scopePath(cfg.Cgroup),
		streamVarOwnPid:              int32(os.Getpid()),
		streamVarInitEarly:           initEarly,
		streamVarInitSkippable:       initSkippable,
		streamVarCloneIsInit:         cloneIsInit,
		streamVarOwnOnly:             ownOnly,
		streamVarV1Hierarchies:       uint32(v1),
		streamVarV1Systemd:           uint32(systemd),
		streamVarWakeBytes:           uint32(cfg.BufferSize / 4),
		streamVarExecveSyscall:       uint64(unix.SYS_EXECVE),
		streamVarExecveatSyscall:     uint64(unix.SYS_EXECVEAT),
		streamVarExecveSyscall32:     uint64(11),
		streamVarExecveatSyscall32:   uint64(execveat32[runtime.GOARCH]),
		streamVarUidSyscalls:         bitSet(unix.SYS_SETUID, unix.SYS_SETREUID, unix.SYS_SETRESUID, unix.SYS_SETFSUID),
		streamVarGidSyscalls:         bitSet(unix.SYS_SETGID, unix.SYS_SETREGID, unix.SYS_SETRESGID, unix.SYS_SETFSGID),
		streamVarUidSyscalls32:       bitSet(23, 70, 138, 164, 203, 208, 213, 215), // setuid, setreuid, setfsuid, setresuid, and with suffix 32
		streamVarGidSyscalls32:       bitSet(46, 71, 139, 170, 204, 210, 214, 216),
		streamVarSetgroupsSyscalls:   bitSet(unix.SYS_SETGROUPS),
		streamVarSetgroupsSyscalls32: bitSet(81, 206),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// bitSet returns the set of the given numbers as the programs read it.
func bitSet(numbers ...int) (set [syscallWords]uint64) {
	for _, n := range numbers {
		set[n/64] |= 1 << (n % 64)
	}
	return set
}
