package guest

import "math/bits"

// Info is what a module says about itself. All of it is optional.
type Info struct {
	License     string
	Description string
	Author      string
	Version     string

	// Veto lists the events on which an error of the module's watchers denies
	// the operation: Init, Exec, UID and GID. Watchers on these events are
	// called in place, while the task waits; other events go through a queue.
	Veto []Kind

	// Reads holds the optional fields that the module reads. Without it they are there
	// only where somebody else asks for them. With Only it also holds default ones.
	Reads Fields

	// Only says that of the default fields which cost something, the module reads those
	// in Reads and no others: FieldExe, FieldArgv, FieldCwd, FieldCgroup, FieldOldExe,
	// and those of FieldsRusage. The others are then not gathered for it, and missing;
	// the log says so if it reads one.
	Only bool

	// ParentExe says that it reads [Task.ParentExe], for which the host follows the
	// tasks.
	ParentExe bool
}

// about is what the host reads: NUL-separated key=value.
var about []byte

// unread are the default fields that the module does without, and warned those that
// it has read all the same.
var unread, warned Fields

// Describe says what the module is. Call it from an init function, once.
func Describe(info Info) {
	about, unread, warned = nil, 0, 0
	for _, f := range [...][2]string{
		{"license", info.License}, {"description", info.Description}, {"author", info.Author}, {"version", info.Version},
	} {
		if f[1] != "" {
			describe(f[0], f[1])
		}
	}
	for _, k := range info.Veto {
		describe("veto", k.String())
	}
	for i, name := range fieldNames {
		switch f := info.Reads & (1 << i); {
		case f&optionalFields != 0:
			describe("reads", name)
		case f&sparedFields != 0:
			describe("default", name)
		}
	}
	if info.Only {
		describe("default", "only")
		unread = sparedFields &^ info.Reads
	}
	if info.ParentExe {
		describe("reads", "parent_exe")
	}
}

// reads says once in the log if the module reads f, and has said that it does not.
func reads(f Fields) {
	if unread&f != f || warned&f != 0 {
		return
	}
	warned |= f
	name := "rusage"
	if f != FieldsRusage {
		name = fieldNames[bits.TrailingZeros64(uint64(f))]
	}
	Log(LevelWarn, "the module reads "+name+", which is missing because Info.Reads does not have it")
}

func describe(key, value string) {
	about = append(about, key...)
	about = append(about, '=')
	about = append(about, value...)
	about = append(about, 0)
}
