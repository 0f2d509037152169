package recorded

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// structs are the kernel's structures, with the types of their fields: see typeOf.
// The comments say what they come from.
var structs = []struct {
	name   string
	fields [][2]string
}{
	{"kuid_t", [][2]string{{"val", "u32"}}},
	{"kgid_t", [][2]string{{"val", "u32"}}},
	{"task_struct", [][2]string{
		{"pid", "int"}, {"tgid", "int"}, // tid and pid; at init, those of the creator
		{"comm", "char[16]"},
		{"start_boottime", "u64"},
		{"real_parent", "*task_struct"}, // of whom the process id is known at least
		{"group_leader", "*task_struct"},
		{"children", "list_head"}, {"sibling", "list_head"}, // of a task whose clone is there, those without an exit
		{"real_cred", "*cred"}, {"cred", "*cred"},
		{"mm", "*mm_struct"}, // not at exit, where kernels differ
		{"fs", "*fs_struct"},
		{"signal", "*signal_struct"},
		{"cgroups", "*css_set"},
		{"loginuid", "kuid_t"}, {"sessionid", "u32"}, // auid and sessionid
		{"exit_code", "int"},               // val of exit
		{"exit_state", "int"},              // at free: 0 where no exit came before
		{"utime", "u64"}, {"stime", "u64"}, // these and what follows: rusage of exit
		{"min_flt", "u64"}, {"maj_flt", "u64"}, {"nvcsw", "u64"}, {"nivcsw", "u64"},
		{"se", "sched_entity"},
		{"delays", "*char"}, // NULL: as where the kernel does not count what tasks wait for
	}},
	{"list_head", [][2]string{{"next", "*list_head"}, {"prev", "*list_head"}}},
	{"sched_entity", [][2]string{{"sum_exec_runtime", "u64"}}},
	{"cred", [][2]string{
		{"uid", "kuid_t"}, {"euid", "kuid_t"}, {"suid", "kuid_t"}, {"fsuid", "kuid_t"},
		{"gid", "kgid_t"}, {"egid", "kgid_t"}, {"sgid", "kgid_t"}, {"fsgid", "kgid_t"},
	}},
	{"mm_struct", [][2]string{
		{"exe_file", "*file"}, {"arg_start", "u64"}, {"arg_end", "u64"}, {"start_stack", "u64"},
	}},
	{"linux_binprm", [][2]string{
		{"mm", "*mm_struct"}, // none: the exec has happened
		{"file", "*file"},    // exe
		{"argc", "int"},
		{"filename", "*char"}, {"interp", "*char"}, // one whose text is not known; of a script, the first is an argument
	}},
	{"fs_struct", [][2]string{{"root", "path"}, {"pwd", "path"}}},
	{"path", [][2]string{{"mnt", "*vfsmount"}, {"dentry", "*dentry"}}},
	{"file", [][2]string{{"f_path", "path"}, {"f_inode", "*inode"}}},
	{"inode", [][2]string{{"i_ino", "u64"}}}, // exe_ino
	{"vfsmount", [][2]string{{"mnt_root", "*dentry"}}},
	{"mount", [][2]string{{"mnt_parent", "*mount"}, {"mnt_mountpoint", "*dentry"}, {"mnt", "vfsmount"}}},
	{"dentry", [][2]string{{"d_hash", "hlist_bl_node"}, {"d_parent", "*dentry"}, {"d_name", "qstr"}, {"d_inode", "*inode"}}},
	{"hlist_bl_node", [][2]string{{"pprev", "*char"}}}, // not NULL in what has a name
	{"qstr", [][2]string{{"len", "u32"}, {"name", "*char"}}},
	{"signal_struct", [][2]string{
		{"nr_threads", "int"},                       // of those that the recording has
		{"tty", "*tty_struct"}, {"pids", "*pid[4]"}, // of the four, that of the session: sid
	}},
	{"pid", [][2]string{{"numbers", "upid[1]"}}},
	{"upid", [][2]string{{"nr", "int"}}},
	{"tty_struct", [][2]string{{"driver", "*tty_driver"}, {"name", "char[64]"}}},
	{"tty_driver", [][2]string{{"major", "int"}}},
	{"css_set", [][2]string{{"dfl_cgrp", "*cgroup"}}},
	{"cgroup", [][2]string{{"kn", "*kernfs_node"}}},
	{"kernfs_node", [][2]string{{"id", "u64"}}}, // cgroup_id
}

// layout has the structures with the places of their fields.
type layout struct {
	types map[string]*btf.Struct
	Spec  *btf.Spec
}

// newLayout gives each field a place of its own, in steps of eight bytes.
func newLayout() (*layout, error) {
	l := &layout{types: map[string]*btf.Struct{}}
	for _, s := range structs {
		l.types[s.name] = &btf.Struct{Name: s.name}
		if s.name == "kuid_t" || s.name == "kgid_t" {
			l.types[s.name].Name = "" // the kernel has names for these by typedef
		}
	}
	for _, s := range structs {
		if err := l.place(l.types[s.name], s.fields); err != nil {
			return nil, err
		}
	}
	var all []btf.Type
	for _, s := range structs {
		all = append(all, l.types[s.name])
	}
	b, err := btf.NewBuilder(all, nil)
	if err != nil {
		return nil, err
	}
	l.Spec, err = b.Spec()
	return l, err
}

// place puts fields behind each other. Structures stand in the table before what
// they are part of, or have been placed here.
func (l *layout) place(t *btf.Struct, fields [][2]string) error {
	if t.Size > 0 {
		return nil
	}
	for _, f := range fields {
		typ, err := l.typeOf(f[1])
		if err != nil {
			return err
		}
		size, err := btf.Sizeof(typ)
		if err != nil {
			return fmt.Errorf("field %s of %s: %w", f[0], t.Name, err)
		}
		t.Members = append(t.Members, btf.Member{Name: f[0], Type: typ, Offset: btf.Bits(t.Size * 8)})
		t.Size += uint32(size+7) &^ 7
	}
	return nil
}

var (
	charType = &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}
	intTypes = map[string]*btf.Int{
		"int": {Name: "int", Size: 4, Encoding: btf.Signed},
		"u32": {Name: "unsigned int", Size: 4},
		"u64": {Name: "unsigned long", Size: 8},
	}
)

// typeOf returns the type of a field: a number, "*" and what it points to, a
// structure that is part of this one, or one of these, or "char", and how many.
func (l *layout) typeOf(name string) (btf.Type, error) {
	if t := intTypes[name]; t != nil {
		return t, nil
	}
	if element, n, ok := cutCount(name); ok {
		typ, err := l.typeOf(element)
		return &btf.Array{Index: intTypes["u32"], Type: typ, Nelems: n}, err
	}
	if name == "char" {
		return charType, nil
	}
	if name == "*char" {
		return &btf.Pointer{Target: charType}, nil
	}
	if name[0] == '*' {
		return &btf.Pointer{Target: l.types[name[1:]]}, nil
	}
	t := l.types[name]
	for _, s := range structs {
		if s.name == name {
			return t, l.place(t, s.fields)
		}
	}
	return nil, fmt.Errorf("no type %q", name)
}

// cutCount takes "char[16]" apart.
func cutCount(name string) (element string, n uint32, ok bool) {
	element, count, ok := strings.Cut(name, "[")
	if !ok {
		return "", 0, false
	}
	if _, err := fmt.Sscanf(count, "%d]", &n); err != nil {
		panic("bad type " + name)
	}
	return element, n, true
}

// find returns where a field is: "cred", or "d_name.len"; of an array in the middle it
// takes the first element.
func (l *layout) find(structure string, path ...string) (offset, size int) {
	t := l.types[structure]
	for i, name := range path {
		var m *btf.Member
		for j := range t.Members {
			if t.Members[j].Name == name {
				m = &t.Members[j]
			}
		}
		if m == nil {
			panic("no field " + name + " in " + t.Name)
		}
		offset += int(m.Offset.Bytes())
		if i == len(path)-1 {
			size, _ = btf.Sizeof(m.Type)
			return offset, size
		}
		next := btf.UnderlyingType(m.Type)
		if array, ok := next.(*btf.Array); ok {
			next = btf.UnderlyingType(array.Type)
		}
		t = next.(*btf.Struct)
	}
	return offset, int(t.Size)
}

// name says what lies at an offset of a structure.
func (l *layout) name(structure string, offset int) string {
	name := "struct " + structure
	t := l.types[structure]
	for t != nil {
		var in *btf.Member
		for i := range t.Members {
			if int(t.Members[i].Offset.Bytes()) <= offset {
				in = &t.Members[i]
			}
		}
		if in == nil {
			break
		}
		name += "." + in.Name
		offset -= int(in.Offset.Bytes())
		t, _ = in.Type.(*btf.Struct)
	}
	return name
}
