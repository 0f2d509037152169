package kernel

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// modinfo is the content of the section .modinfo: NUL-terminated key=value
// strings, as in modules of the kernel itself.
type modinfo struct {
	description, author, version string

	parms map[string]string // descriptions by parameter
	veto  taskwatch.Kinds   // where a negative result is a veto
}

// apiVersion is TASK_WATCHERS_API of the header.
const apiVersion = 1

func parseModinfo(section []byte) (*modinfo, error) {
	info := &modinfo{parms: map[string]string{}}
	var api string
	for len(section) > 0 {
		var field []byte
		field, section, _ = bytes.Cut(section, []byte{0})
		if len(field) == 0 {
			continue
		}
		key, value, ok := strings.Cut(string(field), "=")
		if !ok {
			return nil, invalid("section .modinfo: %q is not key=value", field)
		}
		switch key {
		case "task_watchers":
			api = value
		case "description":
			info.description = value
		case "author":
			info.author = value
		case "version":
			info.version = value
		case "parm":
			name, text, _ := strings.Cut(value, ":")
			info.parms[name] = text
		case "veto":
			k, err := taskwatch.ParseKind(value)
			if err != nil || !k.Vetoable() {
				return nil, invalid("MODULE_VETO(%s): only init, exec, uid and gid can be refused", value)
			}
			info.veto |= taskwatch.KindsOf(k)
		}
	}
	if api == "" {
		return nil, invalid("it was not built with task_watchers.h: its .modinfo has no task_watchers=%d", apiVersion)
	}
	if n, err := strconv.Atoi(api); err != nil || n < 1 {
		return nil, invalid("section .modinfo: bad interface version %q", api)
	} else if n > apiVersion {
		return nil, invalid("it was built with version %d of task_watchers.h and this program knows %d: use a newer taskwatch", n, apiVersion)
	}
	return info, nil
}
