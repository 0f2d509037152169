package outfile

import (
	"errors"
	"os"
	"time"
)

// overtaken reports whether others have cut the file between the look at it and the
// write of n bytes, with which it begins then. They are taken out, for a head goes
// first. Callers hold mu.
func (l *Log) overtaken(n int) bool {
	if !l.plain || l.opts.Marks.Head == nil || l.end == int64(n) {
		return false
	}
	st, err := l.f.Stat()
	if err != nil || st.Size() != int64(n) || l.f.Truncate(0) != nil {
		return false
	}
	l.wasCut()
	l.end = 0
	return true
}

// wasCut notes that the file begins anew. Callers hold mu.
func (l *Log) wasCut() { l.begun, l.cut, l.lines, l.born = true, true, false, time.Now() }

// follow looks where the file ends, and opens the one that has the name now.
// Callers hold mu.
func (l *Log) follow() error {
	if !l.plain {
		return nil
	}
	st, err := l.f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < l.end { // cut, as by logrotate's copytruncate
		l.wasCut()
	}
	l.end = st.Size()
	now, err := os.Stat(l.name)
	switch {
	case err == nil && os.SameFile(st, now):
		l.gone = time.Time{}
		return nil
	case err == nil:
	case !errors.Is(err, os.ErrNotExist):
		return nil // nobody can say; the file is as good as before
	case l.gone.IsZero():
		l.gone = time.Now()
		return nil
	case time.Since(l.gone) < absent:
		return nil
	}
	if time.Now().Before(l.retry) {
		return nil
	}
	if err := l.move(); err != nil {
		l.failed(err)
	}
	return nil
}

// move leaves the file for the one that has the name. If that cannot be opened,
// it goes on. Callers hold mu.
func (l *Log) move() error {
	f, err := l.open(true)
	if err != nil {
		return err
	}
	if st, err := l.f.Stat(); err == nil {
		l.end = st.Size()
	}
	l.leave()
	l.use(f)
	l.begun = true
	return nil
}

// leave ends the file. Callers hold mu.
func (l *Log) leave() {
	if len(l.opts.Marks.Tail) > 0 {
		_, _ = l.append(l.opts.Marks.Tail) // it is said to end early otherwise
	}
	if l.opts.Sync != SyncNever {
		l.failedIf(l.fsync(l.f))
	}
	l.failedIf(l.f.Close())
}

// Reopen opens the file that has the name now, if that is another one, at once:
// whoever has renamed the file says so.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return os.ErrClosed
	}
	if !l.plain {
		return nil
	}
	st, err := l.f.Stat()
	if err != nil {
		return err
	}
	if now, err := os.Stat(l.name); err == nil && os.SameFile(st, now) {
		return nil
	}
	return l.move()
}

// absent is how long no file may have the name before one is made. Whoever
// rotates a file renames it first and makes another one then.
const absent = time.Second
