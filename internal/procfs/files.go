package procfs

import (
	"bytes"
	"strconv"
	"strings"
)

// parseCmdline splits the content of a cmdline file: strings that each end in
// a NUL, or, once the program has overwritten them, whatever it left. It
// returns an empty slice, not nil, for no content.
func parseCmdline(b []byte) []string {
	if len(b) == 0 {
		return []string{}
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// parseChildren returns the pids in a children file.
func parseChildren(b []byte) []int {
	var pids []int
	for _, field := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parseIO returns the bytes of storage I/O in an io file.
func parseIO(b []byte) (read, write uint64) {
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("read_bytes: ")); ok {
			read = number(v)
		} else if v, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			write = number(v)
		}
	}
	return read, write
}
