package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskwatch/taskwatch"
)

// writes keeps every write apart.
type writes struct {
	mu   sync.Mutex
	list []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, string(p))
	return len(p), nil
}

func (w *writes) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.list
	w.list = nil
	return list
}

// The number of any line is found without the rest.
func TestSeq(t *testing.T) {
	for line, want := range map[string]uint64{
		`{"event":"exec","val":0,"seq":812,"task":{"comm":"\"seq\":1"}}`: 812,
		`{"event":"lost","count":3,"seq":9}`:                             9,
		`{"event":"lost"}`:                                               0,
		`{"event":"exec","seq":8`:                                        0,
		"":                                                               0,
	} {
		if got := Seq([]byte(line + "\n")); got != want {
			t.Errorf("%s: got %d, want %d", line, got, want)
		}
	}
}

func TestFlushDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out writes
		w := NewWriter(&out, nil)
		loss := taskwatch.Loss{Count: 17, Seq: 900}
		for round := range 3 {
			w.Take(taskwatch.Item{Loss: &loss})
			time.Sleep(FlushDelay / 2)
			w.Take(taskwatch.Item{Loss: &loss})
			time.Sleep(FlushDelay/2 - 1)
			synctest.Wait()
			if got := out.take(); got != nil {
				t.Errorf("round %d: written too early: %q", round, got)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if got, want := strings.Join(out.take(), ""), lostLine+"\n"+lostLine+"\n"; got != want {
				t.Errorf("round %d: after the delay %q is written, want %q", round, got, want)
			}
			time.Sleep(time.Hour) // nothing to write: nothing written
			synctest.Wait()
			if got := out.take(); got != nil {
				t.Errorf("round %d: written without need: %q", round, got)
			}
		}
		w.Take(taskwatch.Item{Loss: &loss})
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if got := strings.Join(out.take(), ""); got != lostLine+"\n" {
			t.Errorf("Close writes %q", got)
		}
		w.Take(taskwatch.Item{Loss: &loss})
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if got := out.take(); got != nil {
			t.Errorf("after Close %q is written", got)
		}
	}) // fails if a goroutine is left
}

func TestWritesAreWholeLines(t *testing.T) {
	var out writes
	w := NewWriter(&out, nil)
	ev := sample(t)
	const n = 5000
	for range n {
		w.Take(taskwatch.Item{Event: ev})
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	list := out.take()
	for _, p := range list {
		if !strings.HasSuffix(p, "}\n") || !strings.HasPrefix(p, "{") {
			t.Errorf("a write of %q...%q", p[:20], p[len(p)-20:])
		}
		if len(p) > flushSize+len(execLine)+1 {
			t.Errorf("a write of %d bytes", len(p))
		}
	}
	if got, want := strings.Join(list, ""), strings.Repeat(execLine+"\n", n); got != want {
		t.Error("the lines are not those added")
	}
}

func TestSinkRecordsEverything(t *testing.T) {
	var (
		reg taskwatch.Registry
		out bytes.Buffer
	)
	w := NewWriter(&out, taskwatch.WantAll(taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit)))
	guard := &taskwatch.Module{Name: "guard"}
	guard.Watch(taskwatch.Exec, deny)
	if err := errors.Join(reg.Attach(w), reg.Register(guard)); err != nil {
		t.Fatal(err)
	}
	feed := reg.Feed()
	feed.Deny = taskwatch.KindsOf(taskwatch.Exec)
	ev := sample(t)
	if err := feed.NotifyBefore(ev); taskwatch.Denial(err) == 0 {
		t.Error("the guard did not deny")
	}
	feed.Deliver(taskwatch.Item{Loss: &taskwatch.Loss{Count: 17, Seq: 900}})
	ev.Kind = taskwatch.UID // not asked for
	if err := feed.Notify(ev); err != nil {
		t.Error(err)
	}
	ev.Kind = taskwatch.Exec
	if err := feed.NotifyAfter(ev); err != nil {
		t.Error(err)
	}
	if err := reg.Detach(context.Background(), w); err != nil {
		t.Error(err)
	}
	denied := strings.Replace(errorLine, "main.deny", "record.deny", 1)
	if got, want := out.String(), denied+"\n"+lostLine+"\n"+execLine+"\n"; got != want {
		t.Errorf("recorded\n%swant\n%s", got, want)
	}
}

func deny(*taskwatch.Event) error { return syscall.EPERM }

func TestWriterFromManyGoroutines(t *testing.T) {
	const goroutines, each = 8, 2000
	var (
		out bytes.Buffer
		wg  sync.WaitGroup
	)
	w := NewWriter(&out, nil)
	for g := range goroutines {
		wg.Go(func() {
			ev := sample(t)
			ev.Task.PID = g
			for i := range each {
				ev.Seq = uint64(i + 1)
				w.Take(taskwatch.Item{Event: ev})
			}
		})
	}
	wg.Wait()
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	var next [goroutines]uint64
	in := NewReader(&out, "memory")
	for range goroutines * each {
		l, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		next[l.Event.Task.PID]++
		if want := next[l.Event.Task.PID]; l.Event.Seq != want {
			t.Fatalf("goroutine %d: event %d stands where %d belongs", l.Event.Task.PID, l.Event.Seq, want)
		}
	}
	for g, n := range next {
		if n != each {
			t.Errorf("goroutine %d: %d events, want %d", g, n, each)
		}
	}
}

func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	checkFailure(t, NewWriter(full, nil), syscall.ENOSPC)
}

func TestBrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	checkFailure(t, NewWriter(w, nil), syscall.EPIPE)
}

// checkFailure holds a Writer whose every write fails to its promises.
func checkFailure(t *testing.T, w *Writer, cause error) {
	t.Helper()
	loss := taskwatch.Loss{Count: 17, Seq: 900}
	w.Take(taskwatch.Item{Loss: &loss})
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		err := w.err // by the flush of the timer
		w.mu.Unlock()
		if err != nil {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("nothing is written")
		}
	}
	if err := w.Flush(); !errors.Is(err, cause) || !strings.Contains(err.Error(), "not complete") {
		t.Errorf("Flush: %v, want %v", err, cause)
	}
	for range 10_000 {
		w.Take(taskwatch.Item{Loss: &loss})
	}
	if len(w.buf) != 0 {
		t.Errorf("%d bytes kept", len(w.buf))
	}
	if err := w.Close(context.Background()); !errors.Is(err, cause) {
		t.Errorf("Close: %v, want %v", err, cause)
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	ev := sample(b)
	buf := Append(nil, taskwatch.Item{Event: ev})
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], taskwatch.Item{Event: ev})
	}
}

func BenchmarkDecode(b *testing.B) {
	text := []byte(execLine)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(text); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleWriter() {
	var reg taskwatch.Registry
	w := NewWriter(os.Stdout, taskwatch.WantAll(taskwatch.AllKinds))
	if err := reg.Attach(w); err != nil {
		fmt.Println(err)
	}
	reg.Feed().Deliver(taskwatch.Item{Loss: &taskwatch.Loss{Count: 17, Seq: 900}})
	if err := reg.Detach(context.Background(), w); err != nil {
		fmt.Println(err)
	}
	// Output: {"event":"lost","count":17,"seq":900}
}
