package outfile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// numbers returns the numbers of the lines of files, in the order of the files,
// without what they begin and end with.
func numbers(t *testing.T, names ...string) (list []int) {
	t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, gzipEnding) {
			z, err := gzip.NewReader(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if text, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		for line := range strings.Lines(string(text)) {
			if line == "head\n" || line == "tail\n" {
				continue
			}
			var n int
			if _, err := fmt.Sscanf(line, "line %d of many\n", &n); err != nil || !strings.HasSuffix(line, "of many\n") {
				t.Fatalf("%s has the line %q", name, line)
			}
			list = append(list, n)
		}
	}
	return list
}

// wantAll fails unless the numbers are those from 0 up to n.
func wantAll(t *testing.T, list []int, n int) {
	t.Helper()
	if len(list) != n {
		t.Fatalf("%d lines of %d", len(list), n)
	}
	for i, have := range list {
		if have != i {
			t.Fatalf("line %d is in the place of line %d", have, i)
		}
	}
}

func line(n int) []byte { return fmt.Appendf(nil, "line %d of many\n", n) }

func openLog(t *testing.T, name string, opts LogOptions) *Log {
	t.Helper()
	opts.Report = func(err error) { t.Errorf("reported: %v", err) }
	l, err := OpenLog(name, true, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// A file that is renamed is left at the next write, for the one that was made in
// its place; both have their heads and tails, and no line is lost. One that has
// no follower yet goes on.
func TestLogIsRenamed(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "log")
	l := openLog(t, name, LogOptions{})
	l.Begin(Marks{Head: func() []byte { return []byte("head\n") }, Tail: []byte("tail\n")})
	var files []string
	n := 0
	write := func() {
		if _, err := l.Write(line(n)); err != nil {
			t.Fatal(err)
		}
		n++
	}
	for i := range 5 {
		write()
		files = append(files, fmt.Sprintf("%s.%d", name, i))
		if err := os.Rename(name, files[i]); err != nil {
			t.Fatal(err)
		}
		write() // there is no other file yet
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if err := os.Remove(name); err != nil { // and whoever says so needs to make none
		t.Fatal(err)
	}
	kept, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", l.File().Fd()), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(kept); err != nil || string(text) != "head\nline 10 of many\ntail\n" {
		t.Errorf("the file that was removed has %q, %v", text, err)
	}
	n-- // that one is gone
	write()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wantAll(t, numbers(t, append(files, name)...), n)
	for i, file := range append(files, name) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if head := strings.HasPrefix(string(text), "head\n"); head != (i > 0) {
			t.Errorf("%s begins with a head: %v", file, head)
		}
		if tail := strings.HasSuffix(string(text), "\ntail\n"); tail != (file != name) {
			t.Errorf("%s ends with a tail: %v", file, tail)
		}
	}
}

// A file that is cut begins anew, with its head, and says that something is lost.
func TestLogIsCut(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	l := openLog(t, name, LogOptions{Marks: Marks{Head: func() []byte { return []byte("head\n") }, Cut: []byte("lost\n")}})
	for n := range 3 {
		if _, err := l.Write(line(n)); err != nil {
			t.Fatal(err)
		}
		if text, _ := os.ReadFile(name); n > 0 && string(text) != "head\nlost\n"+string(line(n)) {
			t.Errorf("after a cut it is %q", text)
		}
		if err := os.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// What is written while others cut the file stands behind the head all the same.
func TestLogIsCutDuringAWrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	l := openLog(t, name, LogOptions{Marks: Marks{Head: func() []byte { return []byte("head\n") }, Cut: []byte("lost\n")}})
	if _, err := l.Write([]byte("what is long enough\n")); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.follow(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	b := []byte("late\n")
	if n, err := l.append(b); err != nil || !l.overtaken(n) {
		t.Fatalf("after %d bytes and %v it is not noticed", n, err)
	}
	if n, err := l.put(b); n != len(b) || err != nil {
		t.Fatal(n, err)
	}
	if text, _ := os.ReadFile(name); string(text) != "head\nlost\nlate\n" {
		t.Errorf("it is %q", text)
	}
	if n, err := l.append(b); err != nil || l.overtaken(n) {
		t.Errorf("a write of %d bytes that nobody has cut is taken for one (%v)", n, err)
	}
}

// Pieces of lines are written as whole lines, whatever happens between.
func TestLogKeepsLinesWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	l := openLog(t, name, LogOptions{})
	var all []byte
	for n := range 50 {
		all = append(all, line(n)...)
	}
	var files []string
	for i := 0; i < len(all); i += 7 {
		if k, err := l.Write(all[i:min(i+7, len(all))]); err != nil || k != min(7, len(all)-i) {
			t.Fatal(k, err)
		}
		if i%35 == 0 {
			if _, err := os.Stat(name); err != nil {
				t.Fatal(err)
			}
			files = append(files, fmt.Sprintf("%s.%d", name, i))
			if err := errors.Join(os.Rename(name, files[len(files)-1]), os.WriteFile(name, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wantAll(t, numbers(t, append(files, name)...), 50)
}

// Files are rotated by their size, compressed, and removed when there are too
// many; none is larger than it may be, and each has its mode.
func TestLogRotates(t *testing.T) {
	const size, total = 1000, 2000
	for _, c := range []LogOptions{{MaxSize: size}, {MaxSize: size, Gzip: true}, {MaxSize: size, Gzip: true, Keep: 5}, {MaxSize: size, Keep: 5}} {
		t.Run(fmt.Sprintf("gzip %v keep %d", c.Gzip, c.Keep), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "log")
			c.Mode, c.Marks.Tail, c.Marks.Head = 0o600, []byte("tail\n"), func() []byte { return []byte("head\n") }
			l := openLog(t, name, c)
			var batch []byte
			for n := range total {
				if batch = append(batch, line(n)...); n%100 == 99 {
					if _, err := l.Write(batch); err != nil {
						t.Fatal(err)
					}
					batch = batch[:0]
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			files := l.rotated()
			for _, file := range append(slices.Clone(files), name) {
				st, err := os.Stat(file)
				if err != nil {
					t.Fatal(err)
				}
				if st.Mode() != 0o600 || st.Size() > size+int64(len(c.Marks.Tail)) {
					t.Errorf("%s: mode %v, %d bytes", file, st.Mode(), st.Size())
				}
				if file != name && strings.HasSuffix(file, gzipEnding) != c.Gzip {
					t.Errorf("%s is compressed: %v", file, !c.Gzip)
				}
			}
			list := numbers(t, append(files, name)...)
			if c.Keep == 0 {
				wantAll(t, list, total)
				return
			}
			if len(files) != c.Keep {
				t.Errorf("%d rotated files, want %d", len(files), c.Keep)
			}
			for i, n := range list {
				if n != total-len(list)+i {
					t.Fatalf("line %d is in the place of line %d", n, total-len(list)+i)
				}
			}
		})
	}
}

// A file is rotated once it is old enough, also if an earlier process has made it,
// and never while there is nothing in it.
func TestLogRotatesByAge(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	write := func(l *Log, n int) {
		t.Helper()
		if _, err := l.Write(line(n)); err != nil {
			t.Fatal(err)
		}
	}
	l := openLog(t, name, LogOptions{MaxAge: time.Hour})
	write(l, 0)
	write(l, 1)
	if files := l.rotated(); len(files) != 0 {
		t.Errorf("rotated before its time: %v", files)
	}
	l.born = l.born.Add(-time.Hour)
	write(l, 2)
	write(l, 3)
	if files := l.rotated(); len(files) != 1 {
		t.Fatalf("rotated are %v, want one", files)
	}
	wantAll(t, numbers(t, l.rotated()[0]), 2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, name, LogOptions{MaxAge: time.Nanosecond}) // since it was made
	write(l, 4)
	if files := l.rotated(); len(files) != 2 {
		t.Errorf("rotated are %v, want the one of the earlier process, too", files)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wantAll(t, numbers(t, append(l.rotated(), name)...), 5)
}

// What was written is brought to the disk as it is to be: always before Write
// returns, once in a second, or not at all; and, but for that, at the end.
func TestLogSync(t *testing.T) {
	for _, c := range []struct {
		sync          Sync
		writes, after int // syncs after a hundred writes, and after Close
	}{{SyncNever, 0, 0}, {SyncSecond, 1, 2}, {SyncAlways, 100, 101}} {
		l := openLog(t, filepath.Join(t.TempDir(), "log"), LogOptions{Sync: c.sync})
		var mu sync.Mutex
		n, synced := 0, make(chan struct{}, 200)
		l.fsync = func(f *os.File) error {
			mu.Lock()
			defer mu.Unlock()
			n++
			synced <- struct{}{}
			return f.Sync()
		}
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return n
		}
		begun := time.Now()
		for i := range 100 {
			if _, err := l.Write(line(i)); err != nil {
				t.Fatal(err)
			}
			if c.sync == SyncAlways && count() != i+1 {
				t.Fatalf("after write %d there were %d syncs", i, count())
			}
		}
		if c.sync == SyncSecond {
			<-synced
		}
		if got := count(); got < c.writes || got > c.writes && time.Since(begun) < 2*time.Second {
			t.Errorf("%v: %d syncs after the writes, want %d", c.sync, got, c.writes)
		}
		before := count()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := count() - before; got != c.after-c.writes {
			t.Errorf("%v: %d syncs at the end, want %d", c.sync, got, c.after-c.writes)
		}
	}
}

// What a full disk takes half of is cut off, and the writer is told how much is
// there.
func TestLogOnAFullDisk(t *testing.T) {
	testutil.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		testutil.NeedsRoot.Skip(t, fmt.Sprintf("mount: %v", err))
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	name := filepath.Join(dir, "log")
	l, err := OpenLog(name, false, LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var text []byte
	for n := range 10_000 {
		text = append(text, line(n)...)
	}
	k, err := l.Write(text)
	if !errors.Is(err, syscall.ENOSPC) || k == 0 || text[k-1] != '\n' {
		t.Fatalf("%d bytes, %v", k, err)
	}
	if have, err := os.ReadFile(name); err != nil || !bytes.Equal(have, text[:k]) {
		t.Errorf("%d bytes are there, %d are said to be: %v", len(have), k, err)
	}
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(line(0)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	wantAll(t, numbers(t, name), 1)
}
