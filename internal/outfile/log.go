package outfile

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"time"
)

// Sync says when what was written to a [Log] is brought to the disk.
type Sync int

// The values of Sync.
const (
	SyncNever  Sync = iota // when the kernel likes
	SyncSecond             // a second later at most
	SyncAlways             // before Write returns
)

// LogOptions say how a [Log] writes. The zero value follows its file and rotates
// nothing.
type LogOptions struct {
	// Mode is that of the file, whoever made it; 0 leaves it to the umask and
	// to whoever made it. GID is its group then; 0 leaves it as it is.
	Mode os.FileMode
	GID  int

	// MaxSize is the number of bytes, and MaxAge the time, after which a file
	// is rotated: it is renamed to its name, a dot and the time, and another is
	// begun. 0 is no bound. A line longer than MaxSize gets a file of its own.
	MaxSize int64
	MaxAge  time.Duration

	Keep int  // rotated files that are kept; 0 keeps all
	Gzip bool // rotated files are compressed

	Sync Sync

	// Record, if not 0, is the number of bytes of records that are written in the
	// place of lines. Each Write is of whole ones.
	Record int

	Marks Marks

	// Report, if set, is called with what went wrong without an effect on the
	// lines: a rotation, a compression. It may be called from any goroutine.
	Report func(error)
}

// Marks are lines that a [Log] writes by itself.
type Marks struct {
	// Head, if set, returns the lines that a file begins with that was begun
	// anew, and Tail has those that end a file that is left. The first file has
	// neither, but by its writer.
	Head func() []byte
	Tail []byte

	// Cut has the lines that stand behind the head of a file that others have
	// cut: nobody knows what was lost. Without them, [ErrCut] is reported.
	Cut []byte
}

// ErrCut is reported of a file that others have cut.
var ErrCut = errors.New("others have cut the file; items may be missing")

// Log writes lines at the end of a file, which others may rename, remove or cut
// meanwhile: before each write it looks whether its file still has the name, and
// opens the one that has. No line is torn: what a full disk has taken half of is
// cut off again. All methods may be called from any goroutine.
type Log struct {
	name string
	opts LogOptions

	tidying sync.WaitGroup // compression and removal of rotated files
	tidy    sync.Mutex     // one at a time

	mu     sync.Mutex // guards what follows
	f      *os.File
	plain  bool   // it is a regular file
	rest   []byte // the beginning of a line whose end was not written yet
	end    int64  // of the file, as far as it is known
	lines  bool   // there is more in it than its head
	begun  bool   // it is to get a head
	cut    bool   // others have cut it, which is to be said
	born   time.Time
	gone   time.Time // since when no file has the name; zero where one has
	retry  time.Time // of the next try to rotate or to open, after one that failed
	synced *time.Timer
	closed bool
	fsync  func(*os.File) error // (*os.File).Sync
}

// OpenLog opens a file as [Open] does, with what it holds kept or not. What is
// there and no regular file is written to as it is, and not followed.
func OpenLog(name string, keep bool, opts LogOptions) (*Log, error) {
	l := &Log{name: name, opts: opts, fsync: (*os.File).Sync}
	f, err := l.open(keep)
	if err != nil {
		return nil, err
	}
	l.use(f)
	l.clean() // what an earlier process did not come to
	return l, nil
}

// open opens the file of that name, with the mode and the group that it is to
// have.
func (l *Log) open(keep bool) (*os.File, error) {
	mode := l.opts.Mode
	if mode == 0 {
		mode = 0o666
	} else if l.opts.GID != 0 {
		mode &= 0o600 // until it has its group
	}
	f, err := open(l.name, keep, l.opts.Record, mode)
	if err != nil || l.opts.Mode == 0 {
		return f, err
	}
	if err := l.protect(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// protect gives a file its group and its mode.
func (l *Log) protect(f *os.File) error {
	if l.opts.GID != 0 {
		if err := f.Chown(-1, l.opts.GID); err != nil {
			return err
		}
	}
	return f.Chmod(l.opts.Mode)
}

// use has lines written to a file. Callers hold mu, or have l alone.
func (l *Log) use(f *os.File) {
	st, err := f.Stat()
	l.f, l.plain = f, err == nil && st.Mode().IsRegular()
	l.end, l.lines, l.gone, l.born = 0, false, time.Time{}, time.Now()
	if l.plain && st.Size() > 0 {
		l.end, l.lines = st.Size(), true
		l.born = born(f, l.born)
	}
}

// File returns the file that is written to now. A rotation closes it.
func (l *Log) File() *os.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f
}

// Begin sets the lines that the log writes by itself.
func (l *Log) Begin(m Marks) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opts.Marks = m
}

// Write writes whole lines, and keeps back the beginning of the last one where
// its end is not there yet. Where it fails, n is the end of the last whole line
// that is in the file.
func (l *Log) Write(b []byte) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, os.ErrClosed
	}
	whole := l.whole(b)
	if whole == 0 {
		l.rest = append(l.rest, b...)
		return len(b), nil
	}
	text, before := b[:whole], len(l.rest)
	if before > 0 {
		text = append(l.rest, text...)
	}
	n, err = l.put(text)
	if n = max(n-before, 0); err != nil {
		l.rest = nil
		return n, err
	}
	l.rest = append(l.rest[:0], b[whole:]...)
	return len(b), nil
}

// put writes whole lines. Callers hold mu.
func (l *Log) put(b []byte) (n int, err error) {
	for len(b) > 0 {
		if err := l.follow(); err != nil {
			return n, err
		}
		if err := l.head(); err != nil {
			return n, err
		}
		piece := l.piece(b)
		if piece == nil {
			l.rotate()
			continue
		}
		k, err := l.append(piece)
		if err == nil && l.overtaken(k) {
			continue // behind the head
		}
		n, l.lines = n+k, l.lines || k > 0
		if err != nil {
			return n, err
		}
		b = b[len(piece):]
	}
	return n, l.sync()
}

// head writes what a file begins with that was begun anew. Callers hold mu.
func (l *Log) head() error {
	if l.begun && l.opts.Marks.Head != nil {
		if _, err := l.append(l.opts.Marks.Head()); err != nil {
			return err
		}
	}
	l.begun = false
	switch {
	case !l.cut:
	case len(l.opts.Marks.Cut) > 0:
		if _, err := l.append(l.opts.Marks.Cut); err != nil {
			return err
		}
	case l.opts.Report != nil:
		l.opts.Report(ErrCut)
	}
	l.cut = false
	return nil
}

// piece returns how much of some lines the file has room for, and nil where it
// is to be rotated first. Callers hold mu.
func (l *Log) piece(b []byte) []byte {
	if !l.plain || l.opts.MaxSize == 0 && l.opts.MaxAge == 0 || time.Now().Before(l.retry) {
		return b
	}
	if l.lines && l.opts.MaxAge > 0 && time.Since(l.born) >= l.opts.MaxAge {
		return nil
	}
	room := l.opts.MaxSize - l.end
	if l.opts.MaxSize == 0 || int64(len(b)) <= room {
		return b
	}
	if fit := l.whole(b[:max(room, 0)]); fit > 0 {
		return b[:fit]
	}
	if l.lines {
		return nil
	}
	return b[:l.first(b)]
}

// whole returns the end of the last whole line, or record, and first that of the
// first one.
func (l *Log) whole(b []byte) int {
	if size := l.opts.Record; size > 0 {
		return len(b) / size * size
	}
	return bytes.LastIndexByte(b, '\n') + 1
}

func (l *Log) first(b []byte) int {
	if l.opts.Record > 0 {
		return l.opts.Record
	}
	return bytes.IndexByte(b, '\n') + 1
}

// append writes lines at the end of the file, which follow has looked up, and
// leaves no part of a line there. It returns the end of the last whole one.
// Callers hold mu.
func (l *Log) append(b []byte) (n int, err error) {
	n, err = l.f.Write(b)
	if err != nil && l.plain {
		n = l.whole(b[:n])
		err = errors.Join(err, l.f.Truncate(l.end+int64(n)))
	}
	l.end += int64(n)
	return n, err
}

// failed reports an error, and has the next try wait. Callers hold mu.
func (l *Log) failed(err error) {
	l.retry = time.Now().Add(absent)
	l.report(err)
}

func (l *Log) failedIf(err error) {
	if err != nil {
		l.report(err)
	}
}

func (l *Log) report(err error) {
	if l.opts.Report != nil {
		l.opts.Report(err)
	}
}

// sync brings what was written to the disk, as it is to be. Callers hold mu.
func (l *Log) sync() error {
	switch {
	case l.opts.Sync == SyncAlways:
		return l.fsync(l.f)
	case l.opts.Sync == SyncSecond && l.synced == nil:
		l.synced = time.AfterFunc(time.Second, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.synced = nil
			if !l.closed {
				l.failedIf(l.fsync(l.f))
			}
		})
	}
	return nil
}

// Close closes the file, and waits until rotated ones are what they are to be.
// A line without an end is written as it is.
func (l *Log) Close() error {
	err := l.close()
	l.tidying.Wait()
	return err
}

func (l *Log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var errs []error
	if len(l.rest) > 0 {
		_, err := l.f.Write(l.rest)
		errs = append(errs, err)
	}
	if l.synced != nil {
		l.synced.Stop()
	}
	if l.opts.Sync != SyncNever {
		errs = append(errs, l.fsync(l.f))
	}
	return errors.Join(append(errs, l.f.Close())...)
}
