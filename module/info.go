package module

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// apiVersion is TASK_WATCHERS_API of the header.
const apiVersion = 1

// Info is what a module says about itself.
type Info struct {
	License, Description, Author, Version string

	Params map[string]string // descriptions by parameter
	Veto   taskwatch.Kinds   // where a negative result is a veto
	Powers []string          // that it asks for
	Shared []string          // maps that it has together with other modules
	Reads  taskwatch.Fields  // optional fields that it reads, and, with Only, default ones

	Only      bool // of the default fields that it could do without, it reads only those in Reads
	ParentExe bool // it reads the program of the task's parent

	// Attach may come at any time, and again, so that nothing is kept of each task.
	AttachAtLeastOnce bool

	api string
}

// ParseInfo reads NUL-separated key=value strings, as in the section .modinfo
// of modules of the kernel itself. Unknown keys are skipped. What is for people is
// made UTF-8: the interface of the daemon can have nothing else.
func ParseInfo(b []byte) (*Info, error) {
	info := &Info{Params: map[string]string{}}
	var defaults taskwatch.Fields
	for len(b) > 0 {
		var field []byte
		field, b, _ = bytes.Cut(b, []byte{0})
		if len(field) == 0 {
			continue
		}
		key, value, ok := strings.Cut(string(field), "=")
		if !ok {
			return nil, fmt.Errorf("%q is not key=value", field)
		}
		switch key {
		case "task_watchers":
			info.api = value
		case "license":
			info.License = valid(value)
		case "description":
			info.Description = valid(value)
		case "author":
			info.Author = valid(value)
		case "version":
			info.Version = valid(value)
		case "parm":
			name, text, _ := strings.Cut(value, ":")
			info.Params[name] = valid(text)
		case "veto":
			k, err := taskwatch.ParseKind(value)
			if err != nil || !k.Vetoable() {
				return nil, fmt.Errorf("MODULE_VETO(%s): only init, exec, uid and gid can be denied", value)
			}
			info.Veto |= taskwatch.KindsOf(k)
		case "shared":
			if !slices.Contains(info.Shared, value) {
				info.Shared = append(info.Shared, value)
			}
		case "reads":
			if value == readsParentExe {
				info.ParentExe = true
				continue
			}
			f, err := optionalField(value)
			if err != nil {
				return nil, fmt.Errorf("MODULE_READS(%s): %w", value, err)
			}
			info.Reads |= f
		case "default":
			if value == readsOnly {
				info.Only = true
				continue
			}
			f := sparedFields(value)
			if f == 0 {
				return nil, fmt.Errorf("MODULE_READS(%s): %w", value, errUnknownField)
			}
			defaults |= f
		case "attach":
			if value != "at least once" {
				return nil, fmt.Errorf("attach=%s: this program does not know when attach is to be called; use a newer taskwatch", value)
			}
			info.AttachAtLeastOnce = true
		case "power":
			if err := checkPower(value); err != nil {
				return nil, err
			}
			if !slices.Contains(info.Powers, value) {
				info.Powers = append(info.Powers, value)
			}
		}
	}
	if info.Only { // else it reads them all
		info.Reads |= defaults
	}
	return info, nil
}

func valid(text string) string { return strings.ToValidUTF8(text, "\ufffd") }

// CheckAPI returns an error unless this program knows the version of
// task_watchers.h that the module was built with.
func (i *Info) CheckAPI() error {
	if i.api == "" {
		return fmt.Errorf("it was not built with task_watchers.h: its .modinfo has no task_watchers=%d", apiVersion)
	}
	if n, err := strconv.Atoi(i.api); err != nil || n < 1 {
		return fmt.Errorf("section .modinfo: bad interface version %q", i.api)
	} else if n > apiVersion {
		return fmt.Errorf("it was built with version %d of task_watchers.h, but this program knows only version %d: use a newer taskwatch", n, apiVersion)
	}
	return nil
}

// What a module says of what it reads that is no field of events.
const (
	readsParentExe = "parent_exe"
	readsOnly      = "only"
)

var errUnknownField = errors.New("this program does not know the field; use a newer taskwatch")

// inC returns the name of a field as C has it.
func inC(name string) string { return strings.ReplaceAll(name, ".", "_") }

// optionalField returns the field with a name, which may be that of C.
func optionalField(name string) (taskwatch.Fields, error) {
	for _, f := range taskwatch.AllFields.List() {
		if inC(f.Info().Name) != inC(name) {
			continue
		}
		if !f.Info().Optional {
			if sparedFields(name) != 0 {
				return 0, fmt.Errorf("it is no optional field; name it with default=%s", name)
			}
			return 0, errors.New("it is no optional field, and always there; leave it out")
		}
		return f, nil
	}
	return 0, errUnknownField
}

// sparedFields returns the default fields that a module can do without, of that name
// or of the group of that name.
func sparedFields(name string) (fields taskwatch.Fields) {
	for _, f := range wire.Spared.List() {
		full := f.Info().Name
		if group, _, grouped := strings.Cut(full, "."); inC(full) == inC(name) || grouped && group == name {
			fields |= f
		}
	}
	return fields
}

// Unread returns the default fields that the module does without.
func (i *Info) Unread() taskwatch.Fields {
	if !i.Only {
		return 0
	}
	return wire.Spared &^ i.Reads
}

// ReadNames returns the names of what the module reads.
func (i *Info) ReadNames() []string {
	names := i.Reads.Names()
	if i.ParentExe {
		names = append(names, readsParentExe)
	}
	return names
}
