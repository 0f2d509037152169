package kernel

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// offsets are the places of the few kernel fields that generated code reads,
// in bytes, from the running kernel's own type information. Watchers find
// theirs by CO-RE relocation.
type offsets struct {
	taskPID, taskTGID, taskLeader, taskMM     int16
	taskExitState, taskExitCode, taskRealCred int16
	credUID, credGID                          [4]int16 // real, effective, saved, fs
	credGroups                                int16
	bprmCred, bprmInterp, bprmFilename        int16
	mmExeFile, fileInode                      int16

	// inExecve is the byte and the bit of task_struct.in_execve; a zero bit
	// says that this kernel has none.
	inExecve    int16
	inExecveBit int32
}

func findOffsets(kernel *btf.Spec) (*offsets, error) {
	var o offsets
	for _, f := range []struct {
		to            *int16
		strct, member string
	}{
		{&o.taskPID, "task_struct", "pid"},
		{&o.taskTGID, "task_struct", "tgid"},
		{&o.taskLeader, "task_struct", "group_leader"},
		{&o.taskMM, "task_struct", "mm"},
		{&o.taskExitState, "task_struct", "exit_state"},
		{&o.taskExitCode, "task_struct", "exit_code"},
		{&o.taskRealCred, "task_struct", "real_cred"},
		{&o.credUID[0], "cred", "uid"},
		{&o.credUID[1], "cred", "euid"},
		{&o.credUID[2], "cred", "suid"},
		{&o.credUID[3], "cred", "fsuid"},
		{&o.credGID[0], "cred", "gid"},
		{&o.credGID[1], "cred", "egid"},
		{&o.credGID[2], "cred", "sgid"},
		{&o.credGID[3], "cred", "fsgid"},
		{&o.credGroups, "cred", "group_info"},
		{&o.bprmCred, "linux_binprm", "cred"},
		{&o.bprmInterp, "linux_binprm", "interp"},
		{&o.bprmFilename, "linux_binprm", "filename"},
		{&o.mmExeFile, "mm_struct", "exe_file"},
		{&o.fileInode, "file", "f_inode"},
	} {
		bits, _, err := findMember(kernel, f.strct, f.member)
		if err != nil {
			return nil, err
		}
		*f.to = int16(bits / 8)
	}
	if bits, size, err := findMember(kernel, "task_struct", "in_execve"); err == nil && size == 1 {
		o.inExecve, o.inExecveBit = int16(bits/8), 1<<(bits%8)
	}
	return &o, nil
}

// findMember returns the offset in bits of a member, also inside anonymous
// structs and unions, and its width if it is a bit field.
func findMember(kernel *btf.Spec, strct, member string) (bits, width uint32, err error) {
	var s *btf.Struct
	if err := kernel.TypeByName(strct, &s); err != nil {
		return 0, 0, fmt.Errorf("kernel type information: struct %s: %w", strct, err)
	}
	bits, width, ok := searchMember(s.Members, member)
	if !ok || bits/8 > 1<<15-1 {
		return 0, 0, fmt.Errorf("kernel type information: struct %s has no usable member %s", strct, member)
	}
	return bits, width, nil
}

func searchMember(members []btf.Member, name string) (bits, width uint32, ok bool) {
	for _, m := range members {
		if m.Name == name {
			return uint32(m.Offset), uint32(m.BitfieldSize), true
		}
		if m.Name != "" {
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if bits, width, ok := searchMember(inner, name); ok {
			return uint32(m.Offset) + bits, width, true
		}
	}
	return 0, 0, false
}
