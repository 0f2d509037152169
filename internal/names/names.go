// Package names finds the names of users and groups in local files. It asks
// no network service, and nobody's decision may depend on it: a container's
// root can write what it likes into its own files.
package names

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// maxFile bounds how much of a file is read.
const maxFile = 4 << 20

// fresh is how long a file is not looked at again.
const fresh = 5 * time.Second

// Host holds the names of the machine.
var Host = &machine{User: &file{path: "/etc/passwd"}, Group: &file{path: "/etc/group"}}

// machine has the names of one root directory.
type machine struct{ User, Group *file }

// file is a file like /etc/passwd, as it was last seen: it is read anew when
// it has changed. All methods may be called from any goroutine.
type file struct {
	path string

	mu      sync.Mutex // guards what follows
	looked  time.Time
	changed time.Time
	size    int64
	names   map[uint32]string
}

// Name returns the name of an id, and whether it has one.
func (f *file) Name(id uint32) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) > fresh || f.looked.IsZero() {
		f.looked = now
		f.look()
	}
	name, ok := f.names[id]
	return name, ok
}

// Of returns the name of an id, or else the id.
func (f *file) Of(id uint32) string {
	if name, ok := f.Name(id); ok {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// look reads the file if it has changed. Callers hold mu.
func (f *file) look() {
	in, err := os.OpenFile(f.path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		f.names = nil
		return
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil || !st.Mode().IsRegular() {
		f.names = nil // a FIFO or a device could have a reader wait
		return
	}
	if f.names != nil && st.ModTime().Equal(f.changed) && st.Size() == f.size {
		return
	}
	b, err := io.ReadAll(io.LimitReader(in, maxFile))
	if err != nil {
		return
	}
	f.names, f.changed, f.size = parse(b), st.ModTime(), st.Size()
}

// parse reads lines of name:password:id. The first line of an id counts, as
// it does for the C library.
func parse(b []byte) map[uint32]string {
	names := map[uint32]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxFile)
	for lines.Scan() {
		fields := bytes.SplitN(lines.Bytes(), []byte(":"), 4)
		if len(fields) < 3 || len(fields[0]) == 0 || fields[0][0] == '#' {
			continue
		}
		id, err := strconv.ParseUint(string(fields[2]), 10, 32)
		if err != nil {
			continue
		}
		if _, ok := names[uint32(id)]; !ok {
			names[uint32(id)] = string(fields[0])
		}
	}
	return names
}
