// Package offsets finds where the running kernel keeps the few fields that
// generated programs read.
package offsets

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Offsets are places in the kernel's structures, in bytes. The programs that
// people write find theirs by CO-RE relocation. They are immutable once found.
type Offsets struct {
	TaskPID, TaskTGID, TaskLeader, TaskMM     int16
	TaskExitState, TaskExitCode, TaskRealCred int16
	CredUID, CredGID                          [4]int16 // real, effective, saved, fs
	CredGroups                                int16
	BprmCred, BprmInterp, BprmFilename        int16
	MmExeFile, FileInode                      int16

	// InExecve is the byte and the bit of task_struct.in_execve; a zero bit
	// says that this kernel has none.
	InExecve    int16
	InExecveBit int32

	// The list of what maps keep of a task: where it begins, in task_struct and then in
	// bpf_local_storage, and from the link of an element to its map, which may be
	// negative. Where TaskStorage is 0 there is no such list.
	TaskStorage, StorageList, StorageMap int16

	// StorageFound says that the helper of tracing programs finds what a map keeps of
	// a task also while another task is in the middle of the same: Linux 6.2.
	StorageFound bool
}

// Find reads them from the kernel's type information.
func Find(kernel *btf.Spec) (*Offsets, error) {
	var o Offsets
	for _, f := range []struct {
		to            *int16
		strct, member string
	}{
		{&o.TaskPID, "task_struct", "pid"},
		{&o.TaskTGID, "task_struct", "tgid"},
		{&o.TaskLeader, "task_struct", "group_leader"},
		{&o.TaskMM, "task_struct", "mm"},
		{&o.TaskExitState, "task_struct", "exit_state"},
		{&o.TaskExitCode, "task_struct", "exit_code"},
		{&o.TaskRealCred, "task_struct", "real_cred"},
		{&o.CredUID[0], "cred", "uid"},
		{&o.CredUID[1], "cred", "euid"},
		{&o.CredUID[2], "cred", "suid"},
		{&o.CredUID[3], "cred", "fsuid"},
		{&o.CredGID[0], "cred", "gid"},
		{&o.CredGID[1], "cred", "egid"},
		{&o.CredGID[2], "cred", "sgid"},
		{&o.CredGID[3], "cred", "fsgid"},
		{&o.CredGroups, "cred", "group_info"},
		{&o.BprmCred, "linux_binprm", "cred"},
		{&o.BprmInterp, "linux_binprm", "interp"},
		{&o.BprmFilename, "linux_binprm", "filename"},
		{&o.MmExeFile, "mm_struct", "exe_file"},
		{&o.FileInode, "file", "f_inode"},
	} {
		bits, _, err := findMember(kernel, f.strct, f.member)
		if err != nil {
			return nil, err
		}
		*f.to = int16(bits / 8)
	}
	if bits, size, err := findMember(kernel, "task_struct", "in_execve"); err == nil && size == 1 {
		o.InExecve, o.InExecveBit = int16(bits/8), 1<<(bits%8)
	}
	o.findStorage(kernel)
	var finds *btf.Func
	o.StorageFound = kernel.TypeByName("bpf_task_storage_get_recur", &finds) == nil
	return &o, nil
}

// findStorage finds the list of what maps keep of a task, if all of it has its names.
func (o *Offsets) findStorage(kernel *btf.Spec) {
	var at [5]int16
	for i, f := range [...][2]string{
		{"task_struct", "bpf_storage"}, {"bpf_local_storage", "list"},
		{"bpf_local_storage_elem", "snode"}, {"bpf_local_storage_elem", "sdata"}, {"bpf_local_storage_data", "smap"},
	} {
		bits, _, err := findMember(kernel, f[0], f[1])
		if err != nil {
			return
		}
		at[i] = int16(bits / 8)
	}
	o.TaskStorage, o.StorageList, o.StorageMap = at[0], at[1], at[3]+at[4]-at[2]
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
