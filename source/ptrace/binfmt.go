package ptrace

import (
	"bytes"
	"encoding/hex"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// format is a way to run a file that is no program of the machine's own: by an
// interpreter that a script names, or that binfmt_misc was told of
// (Documentation/admin-guide/binfmt-misc.rst).
type format struct {
	interpreter string
	arg         string // what stands behind it in a script
	keepName    bool   // P: the program's own argv[0] stays, behind the name
	elsewhere   bool   // F: the interpreter was opened when it was registered

	// What binfmt_misc goes by: bytes at an offset, or the end of the name.
	disabled    bool
	extension   string
	offset      int
	magic, mask []byte
}

func scriptFormat(interpreter, arg string) format {
	return format{interpreter: interpreter, arg: arg}
}

// argv returns the arguments of the interpreter of a file with a name that was
// to be run with the given ones.
func (f *format) argv(name string, argv []string) []string {
	next := []string{f.interpreter}
	if f.arg != "" {
		next = append(next, f.arg)
	}
	next = append(next, name)
	switch {
	case len(argv) == 0:
	case f.keepName:
		next = append(next, argv...)
	default:
		next = append(next, argv[1:]...)
	}
	return next
}

// matches reports whether binfmt_misc runs a file by this format
// (search_binfmt_handler in fs/binfmt_misc.c).
func (f *format) matches(head []byte, name string) bool {
	switch {
	case f.disabled:
		return false
	case f.extension != "":
		i := strings.LastIndexByte(name, '.')
		return i >= 0 && name[i+1:] == f.extension
	case f.offset+len(f.magic) > scriptHead:
		return false
	}
	var whole [scriptHead]byte // what the file does not fill is 0
	copy(whole[:], head)
	for i, b := range whole[f.offset:][:len(f.magic)] {
		if (b^f.magic[i])&f.mask[i] != 0 {
			return false
		}
	}
	return true
}

// formats are those of binfmt_misc, as last read.
type formats struct {
	dir     string // "" stands for [procfs.BinfmtMisc]
	changed string // what told them last
	list    []format
}

// interpreter returns the format by which a file is run. Of several that match
// the kernel takes the one that was registered last; which that is, is not
// shown, and none is returned.
func (fs *formats) interpreter(head []byte, name string) (format, bool) {
	fs.refresh()
	var found []format
	for _, f := range fs.list {
		if f.matches(head, name) {
			found = append(found, f)
		}
	}
	if len(found) != 1 {
		return format{}, false
	}
	return found[0], true
}

// refresh reads the formats again if there are others. One that has come back
// under its name has another inode; one that was switched off is found out
// late, as whatever does not fit.
func (fs *formats) refresh() {
	dir := fs.dir
	if dir == "" {
		dir = procfs.BinfmtMisc
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		fs.list = nil
		return
	}
	var now strings.Builder
	var names []string
	for _, e := range entries {
		if e.Name() == "register" || e.Name() == "status" {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue
		}
		names = append(names, e.Name())
		now.WriteString(e.Name())
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			now.WriteString("/" + strconv.FormatUint(st.Ino, 10) + "/")
		}
	}
	if now.String() == fs.changed {
		return
	}
	fs.changed, fs.list = now.String(), nil
	for _, name := range names {
		b, err := procfs.ReadFile(path.Join(dir, name))
		if err != nil {
			continue
		}
		if f, ok := parseFormat(b); ok {
			fs.list = append(fs.list, f)
		}
	}
}

// parseFormat reads an entry of binfmt_misc.
func parseFormat(b []byte) (f format, ok bool) {
	for line := range bytes.Lines(b) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch key {
		case "disabled":
			f.disabled = true
		case "interpreter":
			f.interpreter = value
		case "flags:":
			f.keepName, f.elsewhere = strings.Contains(value, "P"), strings.Contains(value, "F")
		case "extension":
			f.extension = strings.TrimPrefix(value, ".")
		case "offset":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || n > scriptHead {
				return format{}, false
			}
			f.offset = n
		case "magic", "mask":
			bits, err := hex.DecodeString(value)
			if err != nil || len(bits) == 0 {
				return format{}, false
			}
			if key == "magic" {
				f.magic = bits
			} else {
				f.mask = bits
			}
		}
	}
	if f.mask == nil {
		f.mask = bytes.Repeat([]byte{0xff}, len(f.magic))
	}
	return f, f.interpreter != "" && len(f.mask) == len(f.magic) && (f.extension != "") != (len(f.magic) > 0)
}
