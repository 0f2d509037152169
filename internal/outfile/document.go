package outfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// Document is a file that is written as a whole: until Commit, what had its
// name before is there unchanged, and nothing of it is seen. A program that is
// killed leaves nothing behind, where the file system can have files without a
// name, and else one file that begins with a dot.
type Document struct {
	*os.File        // what is written to
	target   string // "" where it is no regular file and is written in place
	temp     string // its name until Commit, or "" while it has none
	done     bool
}

// Create begins a document. One of Commit and Abort must follow.
func Create(name string) (*Document, error) {
	target := name
	if resolved, err := filepath.EvalSymlinks(name); err == nil {
		target = resolved // a link stays one
	}
	mode := os.FileMode(0o666)
	st, err := os.Stat(target)
	switch {
	case err == nil && !st.Mode().IsRegular():
		f, err := os.OpenFile(target, os.O_WRONLY, 0)
		return &Document{File: f}, err
	case err == nil:
		mode = st.Mode().Perm()
		if err := unix.Access(target, unix.W_OK); err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
	dir := filepath.Dir(target)
	d := &Document{target: target}
	if d.File, err = nameless(dir, mode); err != nil {
		err = d.hide(func(name string) (err error) {
			d.File, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("a file beside %s: %w", name, err)
	}
	if st != nil {
		if err := d.Chmod(mode); err != nil { // the umask is for new ones
			return nil, errors.Join(err, d.Abort())
		}
	}
	return d, nil
}

// nameless opens a file of a directory that has no name yet, and can be given one.
func nameless(dir string, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_WRONLY|unix.O_TMPFILE, mode)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(procfs.FDPath(int(f.Fd()))); err != nil { // Commit needs it, and /proc is not mounted
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// hide makes a file by a name beside the target, which it has until it gets its own. A
// process that was killed may have left one, and a process in a container has the same
// pid each time; so another name is tried where there is one.
func (d *Document) hide(begin func(name string) error) error {
	for i := 0; ; i++ {
		name := filepath.Join(filepath.Dir(d.target), fmt.Sprintf(".%s.%d.%d", filepath.Base(d.target), os.Getpid(), i))
		err := begin(name)
		if err == nil {
			d.temp = name
		}
		if !errors.Is(err, os.ErrExist) || i == hiddenNames {
			return err
		}
	}
}

// hiddenNames bounds the search for a name that nothing has.
const hiddenNames = 1000

// Commit ends the document and gives it its name.
func (d *Document) Commit() error {
	if d.done {
		return os.ErrClosed
	}
	d.done = true
	if d.target == "" {
		return d.Close()
	}
	err := d.Sync()
	if err == nil && d.temp == "" {
		// Only a name can be renamed over another.
		err = d.hide(func(name string) error {
			return unix.Linkat(unix.AT_FDCWD, procfs.FDPath(int(d.Fd())), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
		})
	}
	if e := d.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(d.temp, d.target)
	}
	if err != nil {
		d.remove()
		return fmt.Errorf("write %s: %w", d.target, err)
	}
	return nil
}

// Abort drops the document, unless it was committed.
func (d *Document) Abort() error {
	if d.done {
		return nil
	}
	d.done = true
	err := d.Close()
	d.remove()
	return err
}

func (d *Document) remove() {
	if d.temp != "" {
		_ = os.Remove(d.temp)
	}
}
