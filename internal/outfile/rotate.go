package outfile

import (
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// rotatedLayout is the time in the name of a rotated file. Names sort by it.
const rotatedLayout = "20060102T150405.000000Z"

const (
	gzipEnding    = ".gz"
	partialEnding = ".gz.partial" // of one that is being compressed
)

// rotate renames the file and begins another one. If it cannot, lines go on to
// the same file for a while. Callers hold mu.
func (l *Log) rotate() {
	old := l.rotatedName()
	if err := os.Rename(l.name, old); err != nil {
		l.failed(err)
		return
	}
	f, err := l.open(true)
	if err != nil {
		l.failed(errors.Join(err, os.Rename(old, l.name)))
		return
	}
	l.leave()
	l.use(f)
	l.begun = true
	l.clean()
}

// clean removes and compresses rotated files as they are to be, on a goroutine
// that Close waits for.
func (l *Log) clean() {
	if !l.opts.Gzip && l.opts.Keep == 0 {
		return
	}
	l.tidying.Go(func() {
		l.tidy.Lock()
		defer l.tidy.Unlock()
		l.failedIf(l.prune())
		if !l.opts.Gzip {
			return
		}
		for _, name := range l.rotated() {
			if !strings.HasSuffix(name, gzipEnding) {
				l.failedIf(l.compress(name))
			}
		}
	})
}

// rotatedName returns a name behind those of all rotated files, also where the
// clock was set back.
func (l *Log) rotatedName() string {
	at := time.Now().UTC().Truncate(time.Microsecond)
	if list := l.rotated(); len(list) > 0 {
		last, err := time.Parse(rotatedLayout, strings.TrimSuffix(list[len(list)-1][len(l.name)+1:], gzipEnding))
		if err == nil && !at.After(last) {
			at = last.Add(time.Microsecond)
		}
	}
	return l.name + "." + at.Format(rotatedLayout)
}

// rotated returns the names of the rotated files, the oldest first.
func (l *Log) rotated() (names []string) {
	dir, base := filepath.Split(l.name)
	list, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil
	}
	for _, e := range list {
		at, ok := strings.CutPrefix(e.Name(), base+".")
		if !ok {
			continue
		}
		if _, err := time.Parse(rotatedLayout, strings.TrimSuffix(at, gzipEnding)); err == nil {
			names = append(names, dir+e.Name())
		}
	}
	slices.Sort(names)
	return names
}

// prune removes the oldest of the rotated files.
func (l *Log) prune() error {
	list := l.rotated()
	if l.opts.Keep == 0 || len(list) <= l.opts.Keep {
		return nil
	}
	var errs []error
	for _, name := range list[:len(list)-l.opts.Keep] {
		if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// compress puts a compressed file in place of a rotated one, which stays where
// that fails.
func (l *Log) compress(name string) (err error) {
	from, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it is pruned already
	}
	if err != nil {
		return err
	}
	defer from.Close()
	partial := name + partialEnding
	to, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, to.Close()); err == nil {
			err = os.Rename(partial, name+gzipEnding)
		}
		if err != nil {
			_ = os.Remove(partial)
			return
		}
		err = os.Remove(name)
	}()
	if l.opts.Mode != 0 {
		if err := l.protect(to); err != nil {
			return err
		}
	}
	z := gzip.NewWriter(to)
	if _, err := io.Copy(z, from); err != nil {
		return err
	}
	if err := z.Close(); err != nil || l.opts.Sync == SyncNever {
		return err
	}
	return to.Sync()
}

// born returns when a file was made, or else the given time, where the file
// system does not know.
func born(f *os.File, otherwise time.Time) time.Time {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return otherwise
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}
