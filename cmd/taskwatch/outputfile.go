package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/outfile"
)

// outputFile is one file that items are written to.
type outputFile struct {
	File   *os.File          // not embedded: nothing is to be written past Write
	name   string            // for errors
	owned  bool              // the file is ours to close
	whole  *outfile.Document // the file, where it is written as a whole; or nil
	log    *outfile.Log      // the file, where it is lines, and others may rotate it; or nil
	behind bool              // it holds something already
	format *fileFormat
	broken func() // or nil

	notes    interface{ Notes() []string } // of what was left out; or nil
	partial  interface{ Incomplete() }     // of a recording; or nil
	attached taskwatch.Sink                // or nil
	flushers []func()                      // in the order of an item's way
}

// Write writes to the file.
func (f *outputFile) Write(b []byte) (int, error) {
	to := io.Writer(f.File)
	if f.log != nil {
		to = f.log
	}
	n, err := to.Write(b)
	if err != nil && f.broken != nil {
		f.broken()
	}
	return n, err
}

// openFile opens a file; "-" and "" stand for home.
func (f *outputFlags) openFile(name string, home *os.File) (*outputFile, error) {
	switch {
	case name == "-" && home != os.Stdout:
		return nil, errors.New("--output -: standard output belongs to the command; name a file, or leave the flag out for standard error")
	case name == "-" || name == "":
		return &outputFile{File: home, name: home.Name(), format: f.formatOf(name)}, nil
	}
	out := &outputFile{name: name, owned: true, format: f.formatOf(name)}
	if f.keep && out.format.name == formatJSON && holdsNoRecording(name) {
		return nil, fmt.Errorf("--append: %q holds something else than a recording; write elsewhere, or leave --append out to replace it", name)
	}
	var err error
	if out.format.document {
		if out.whole, err = outfile.Create(name); err == nil {
			out.File = out.whole.File
		}
	} else if out.format.single {
		out.File, err = outfile.Open(name, f.keep)
	} else if out.format.records > 0 {
		out.File, err = outfile.OpenRecords(name, f.keep, out.format.records)
	} else if out.log, err = outfile.OpenLog(name, f.keep, outfile.LogOptions{Report: func(err error) {
		if errors.Is(err, outfile.ErrCut) {
			say("--output %q: %v", name, err)
			return
		}
		say("--output %q: %v; lines go on to the file that is open", name, cause(err))
	}}); err == nil {
		out.File = out.log.File()
		st, err := out.File.Stat()
		out.behind = err == nil && st.Mode().IsRegular() && st.Size() > 0
	}
	var locked *outfile.LockedError
	switch {
	case errors.As(err, &locked) && locked.PID == os.Getpid():
		return nil, fmt.Errorf("--output %q: it is the same file as that of another --output; name each file once", name)
	case errors.As(err, &locked):
		return nil, fmt.Errorf("--output %w; wait until it ends, or write elsewhere", locked)
	case err != nil:
		return nil, fmt.Errorf("--output %q: %w; give a file that can be written", name, cause(err))
	}
	return out, nil
}

// holdsNoRecording reports whether a regular file begins with something else than a
// JSON object.
func holdsNoRecording(name string) bool {
	if st, err := os.Stat(name); err != nil || !st.Mode().IsRegular() {
		return false // opening it says what is wrong
	}
	f, err := os.Open(name)
	if err != nil {
		return false // it may be written, and not read
	}
	defer f.Close()
	head := make([]byte, 1)
	n, _ := f.Read(head)
	return n == 1 && head[0] != '{'
}

func (f *outputFile) attach(reg *taskwatch.Registry, flags *outputFlags, opts formatOptions, w backlog) error {
	where := &flags.where
	var err error
	if f.format.usual != 0 {
		if opts.kinds, err = where.kinds(opts.kinds, f.format.usual); err != nil {
			return err
		}
	}
	opts.file, opts.log, opts.behind = f.File, f.log, f.behind
	sink, err := f.format.open(f, opts)
	if err != nil {
		return fmt.Errorf("--output %q: %w", f.name, err)
	}
	choose := choice{where: where, kinds: opts.kinds, live: w != asRecorded, pass: passer(sink), all: needsAll(sink)}
	choose.none = f.format.usual == 0 || where.filter == nil
	f.notes, _ = sink.(interface{ Notes() []string })
	f.partial, _ = sink.(interface{ Incomplete() })
	if s, ok := sink.(interface{ Flush() error }); ok {
		f.flushers = append(f.flushers, func() { _ = s.Flush() }) // its error is that of Close
	}
	if sink, err = choose.behind(sink); err != nil {
		return err
	}
	if w == queued || w == drop {
		queue := taskwatch.NewQueue(sink, taskwatch.QueueOptions{Block: w == queued})
		f.flushers = slices.Insert(f.flushers, 0, func() { _ = queue.Sync(context.Background()) })
		sink = queue
	}
	if sink, err = choose.before(sink); err != nil {
		return err
	}
	sink = flags.env.before(sink)
	if err := reg.Attach(sink); err != nil {
		return errors.Join(err, sink.Close(context.Background()))
	}
	f.attached = sink
	return nil
}

func (f *outputFile) close(reg *taskwatch.Registry, alone bool) error {
	var err error
	if f.attached != nil {
		progress := showWaiting(alone, "finishing "+clean.Text(filepath.Base(f.name)))
		err = reg.Detach(context.Background(), f.attached)
		progress.end()
		if f.notes != nil {
			for _, note := range f.notes.Notes() {
				say("%s: %s", f.name, note)
			}
		}
	}
	switch {
	case f.whole != nil && (err != nil || f.attached == nil):
		_ = f.whole.Abort()
	case f.whole != nil:
		err = f.whole.Commit()
	case f.log != nil:
		if e := f.log.Close(); err == nil {
			err = e
		}
	case f.owned:
		if e := f.File.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return fmt.Errorf("the events in %q are not complete: %w; write them elsewhere with --output", f.name, cause(err))
	}
	return nil
}
