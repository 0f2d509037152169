package vm

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// File is one file, directory or symbolic link of a guest.
type File struct {
	Guest string // absolute path in the guest; directories above it are made

	// Exactly one of the three says what it is. All unset is an empty file,
	// or with fs.ModeDir in Mode a directory.
	Host string // path of a file on the host whose content is copied
	Data []byte // content
	Link string // target of a symbolic link

	// Mode holds the permission bits; 0 stands for 0755 for directories and
	// for files copied from an executable host file, and 0644 for others.
	Mode fs.FileMode
}

// Tree returns the files below the host directory dir, to be placed below the
// guest directory guest.
func Tree(dir, guest string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		f := File{Guest: path.Join(guest, filepath.ToSlash(rel))}
		switch {
		case d.IsDir():
			f.Mode = fs.ModeDir | 0o755
		case d.Type()&fs.ModeSymlink != 0:
			if f.Link, err = os.Readlink(p); err != nil {
				return err
			}
		case d.Type().IsRegular():
			f.Host = p
		default:
			return fmt.Errorf("vm: %s is neither a file, a directory nor a symbolic link", p)
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// The file types of a cpio header's mode, which are those of stat(2).
const (
	cpioDir  = 0o040000
	cpioFile = 0o100000
	cpioLink = 0o120000
)

// cpioWriter writes an archive in the "newc" format, the one that the kernel
// unpacks (Documentation/driver-api/early-userspace/buffer-format.rst). All
// files belong to root.
type cpioWriter struct {
	w    io.Writer
	n    int64 // bytes written
	ino  uint32
	made map[string]bool // directories that are in the archive
	err  error
}

func newCpioWriter(w io.Writer) *cpioWriter {
	return &cpioWriter{w: w, made: map[string]bool{"/": true}}
}

// add writes f and the directories above it that are not there yet.
func (c *cpioWriter) add(f File) error {
	if c.err != nil {
		return c.err
	}
	if !path.IsAbs(f.Guest) || f.Guest != path.Clean(f.Guest) {
		return fmt.Errorf("vm: guest path %q is not absolute and clean", f.Guest)
	}
	c.dirs(path.Dir(f.Guest))
	perm := uint32(f.Mode.Perm())
	switch {
	case f.Mode.IsDir():
		if perm == 0 {
			perm = 0o755
		}
		if f.Mode&fs.ModeSticky != 0 {
			perm |= 0o1000
		}
		c.dir(f.Guest, perm)
	case f.Link != "":
		c.entry(f.Guest, cpioLink|0o777, strings.NewReader(f.Link), int64(len(f.Link)))
	case f.Host != "":
		c.host(f, perm)
	default:
		if perm == 0 {
			perm = 0o644
		}
		c.entry(f.Guest, cpioFile|perm, strings.NewReader(string(f.Data)), int64(len(f.Data)))
	}
	return c.err
}

func (c *cpioWriter) host(f File, perm uint32) {
	in, err := os.Open(f.Host)
	if err != nil {
		c.fail(err)
		return
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		c.fail(err)
		return
	}
	if !st.Mode().IsRegular() {
		c.fail(fmt.Errorf("vm: %s is not a regular file", f.Host))
		return
	}
	if perm == 0 {
		perm = 0o644
		if st.Mode()&0o111 != 0 {
			perm = 0o755
		}
	}
	c.entry(f.Guest, cpioFile|perm, in, st.Size())
}

// dirs writes the directory dir and those above it.
func (c *cpioWriter) dirs(dir string) {
	var missing []string
	for ; !c.made[dir]; dir = path.Dir(dir) {
		missing = append(missing, dir)
	}
	for _, d := range slices.Backward(missing) {
		c.dir(d, 0o755)
	}
}

func (c *cpioWriter) dir(name string, perm uint32) {
	c.made[name] = true
	c.entry(name, cpioDir|perm, strings.NewReader(""), 0)
}

// close writes the trailer. It does not close the writer below.
func (c *cpioWriter) close() error {
	c.entry("/TRAILER!!!", 0, strings.NewReader(""), 0)
	return c.err
}

func (c *cpioWriter) entry(name string, mode uint32, content io.Reader, size int64) {
	if c.err != nil {
		return
	}
	name = strings.TrimPrefix(name, "/")
	c.ino++
	c.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.ino, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0))
	c.write([]byte(name + "\x00"))
	c.pad()
	n, err := io.Copy(c.w, io.LimitReader(content, size))
	c.n += n
	if err == nil && n != size {
		err = fmt.Errorf("vm: %s became shorter while it was copied", name)
	}
	c.fail(err)
	c.pad()
}

// pad fills up to the next multiple of four bytes.
func (c *cpioWriter) pad() { c.write(make([]byte, -c.n&3)) }

func (c *cpioWriter) write(b []byte) {
	if c.err != nil {
		return
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.fail(err)
}

func (c *cpioWriter) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}
