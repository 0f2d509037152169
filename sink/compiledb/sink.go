package compiledb

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// Sink is a sink that writes a compilation database when it is closed. It
// keeps the entries in memory until then.
type Sink struct {
	w    io.Writer
	opts Options
	done []pending // in the order of the calls

	tree    process.Tree
	callers map[*process.Process]*caller // that live

	failed, cut, unknown, unread int // calls that made no entry for that reason
	lost                         uint64
	someLost                     bool
	notes                        []string
}

// pending is a call, which may yet fail.
type pending struct {
	entries []Entry
	by      *caller
}

// caller is a process, whose calls may yet fail.
type caller struct {
	inside bool // it is a compiler or a launcher, or was started by one
	ended  bool
	failed bool
}

// New returns a sink that writes to w.
func New(w io.Writer, opts Options) *Sink {
	if opts.Files == nil {
		opts.Files = machine{}
	}
	return &Sink{w: w, opts: opts, callers: map[*process.Process]*caller{}}
}

// Wants returns what the sink reads.
func (s *Sink) Wants() taskwatch.Wants {
	return taskwatch.Wants{
		taskwatch.Clone: process.TreeFields,
		taskwatch.Exec:  process.TreeFields | taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldCwd,
		taskwatch.Exit:  process.TreeFields | taskwatch.FieldExitCode | taskwatch.FieldExitSignal,
	}
}

// Take takes an item.
func (s *Sink) Take(it taskwatch.Item) {
	switch {
	case it.Loss != nil:
		s.lost += it.Loss.Count
		s.someLost = s.someLost || it.Loss.Count == 0
	case it.Event != nil:
		s.event(it)
	}
}

// event keeps track of callers: what a compiler or a launcher runs belongs to
// its call.
func (s *Sink) event(it taskwatch.Item) {
	ev := it.Event
	step := s.tree.Take(it)
	if step.Lost != nil {
		delete(s.callers, step.Lost)
	}
	p := step.Process
	if p == nil {
		return
	}
	c := s.callers[p]
	if c == nil {
		if ev.Kind == taskwatch.Exit {
			return // of a thread, behind that of its process
		}
		maker := s.callers[p.Parent()]
		c = &caller{inside: maker != nil && maker.inside}
		s.callers[p] = c
	}
	if ev.Kind == taskwatch.Exec {
		s.exec(ev, c)
	}
	if p.Ended {
		c.ended = true
		c.failed = !ev.Missing.Has(taskwatch.FieldExitCode) && ev.Exit.Code != 0 ||
			!ev.Missing.Has(taskwatch.FieldExitSignal) && ev.Exit.Signal != 0
		delete(s.callers, p)
	}
}

func (s *Sink) exec(ev *taskwatch.Event, c *caller) {
	t, missing := ev.Task, ev.Missing
	if c.inside {
		return
	}
	exe, argv := t.Exe, t.Argv
	if missing.Has(taskwatch.FieldExe) {
		exe = ""
	}
	if missing.Has(taskwatch.FieldArgv) || len(argv) == 0 {
		if d, _ := s.opts.compiler(exe, exe); d != none && missing.Has(taskwatch.FieldArgv) {
			c.inside = true
			s.unknown++
		}
		return
	}
	call, ours := s.opts.recognize(exe, argv)
	c.inside = ours
	switch {
	case call == nil:
	case t.ArgvCut:
		s.cut++
	case missing.Has(taskwatch.FieldCwd) || !filepath.IsAbs(t.Cwd):
		s.unknown++
	default:
		entries, unread := s.opts.entries(call, exe, t.Cwd)
		if unread {
			s.unread++
		}
		if len(entries) > 0 {
			s.done = append(s.done, pending{entries, c})
		}
	}
}

// settle returns the entries that stay.
func (s *Sink) settle() []Entry {
	var list []Entry
	type key struct{ file, output string }
	seen := map[key]bool{}
	open := 0
	for _, c := range s.done {
		if c.by.failed && !s.opts.Failed {
			s.failed++
			continue
		}
		if !c.by.ended {
			open++
		}
		for _, e := range c.entries {
			if k := (key{e.File, e.Output}); !seen[k] {
				seen[k] = true
				list = append(list, e)
			}
		}
	}
	list, gone := s.there(list)
	s.note(s.failed, "call of a compiler failed", "calls of compilers failed", "")
	s.note(s.cut, "call of a compiler has arguments that are cut", "calls of compilers have arguments that are cut", "")
	s.note(s.unknown, "call of a compiler lacks its arguments or its directory", "calls of compilers lack their arguments or their directory", "")
	s.note(s.unread, "call of a compiler names a response file that cannot be read", "calls of compilers name response files that cannot be read", "an entry may be missing")
	s.note(gone, "entry has a source that is gone", "entries have a source that is gone", "")
	s.note(open, "call of a compiler has not ended", "calls of compilers have not ended", "entries are there all the same")
	if s.lost > 0 || s.someLost {
		s.notes = append(s.notes, fmt.Sprintf("%d items or more were lost before they came here: entries may be missing", s.lost))
	}
	return list
}

// there removes entries whose source does not exist any more. If no source
// exists, the recording is from another machine, and all entries stay.
func (s *Sink) there(list []Entry) (left []Entry, gone int) {
	for _, e := range list {
		if s.opts.Files.Exists(e.File) {
			left = append(left, e)
		}
	}
	if left == nil {
		return list, 0
	}
	return left, len(list) - len(left)
}

func (s *Sink) note(n int, one, many, but string) {
	if but == "" {
		but = "no entry"
	}
	switch n {
	case 0:
	case 1:
		s.notes = append(s.notes, "1 "+one+": "+but)
	default:
		s.notes = append(s.notes, fmt.Sprintf("%d %s: %s", n, many, but))
	}
}

// Notes says, after Close, what was left out and why, one line each.
func (s *Sink) Notes() []string { return s.notes }

// Close writes the database.
func (s *Sink) Close(context.Context) error {
	list := s.settle()
	w := bufio.NewWriter(s.w)
	for i, e := range list {
		sep := ",\n"
		if i == 0 {
			sep = "[\n"
		}
		if _, err := w.WriteString(sep); err != nil {
			return err
		}
		if err := writeEntry(w, e); err != nil {
			return err
		}
	}
	end := "\n]\n"
	if len(list) == 0 {
		end = "[]\n"
	}
	if _, err := w.WriteString(end); err != nil {
		return err
	}
	return w.Flush()
}

func writeEntry(w io.Writer, e Entry) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // -D'A<B>' stays readable
	enc.SetIndent("  ", "  ")
	if err := enc.Encode(e); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "  %s", bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return err
}
