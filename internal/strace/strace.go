// Package strace runs strace(1) as a referee for tests: what it reports of
// the same command is compared with what a source delivered.
package strace

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Task is what strace reports of one lifetime of one task.
type Task struct {
	TID int

	Execs []Exec // those that succeeded

	// Ended is false where the report has no end of the task. An exec by
	// another thread of its process ends a task without a status.
	Ended      bool
	Superseded bool
	Code       int
	Signal     string // "SIGKILL"; "" if it exited
	Core       bool
}

// Exec is a successful execve or execveat.
type Exec struct {
	FD   string // "AT_FDCWD", a number, or "" for execve
	Path string
	Argv []string
}

// Command returns the strace command line in front of a command, for a report
// in file that [Parse] understands.
func Command(t testing.TB, file string) []string {
	t.Helper()
	return []string{
		testutil.RequireTool(t, "strace"), "-f", "-xx", "-s", "16777216", "-q",
		"-e", "trace=execve,execveat,clone,clone3,fork,vfork,exit_group", "-o", file, "--",
	}
}

// ParseFile reads a report.
func ParseFile(name string) ([]*Task, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(f, filepath.Base(name))
}

// parse reads a report made with the flags of [Command] and returns its tasks
// in the order in which they first appear. The name is for errors.
func parse(r io.Reader, name string) ([]*Task, error) {
	p := parser{live: map[int]*Task{}, unfinished: map[int]string{}}
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			return p.tasks, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w: the report is cut", name, n, err)
		}
		if err := p.line(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: %.200q", name, n, err, line)
		}
	}
}

type parser struct {
	tasks      []*Task
	live       map[int]*Task
	unfinished map[int]string // by tid: the call up to where another task's line came
}

func (p *parser) task(tid int) *Task {
	t := p.live[tid]
	if t == nil {
		t = &Task{TID: tid}
		p.live[tid] = t
		p.tasks = append(p.tasks, t)
	}
	return t
}

func (p *parser) line(line string) error {
	number, rest, ok := strings.Cut(line, " ")
	tid, err := strconv.Atoi(number)
	if !ok || err != nil {
		return fmt.Errorf("no tid in front")
	}
	rest = strings.TrimLeft(rest, " ") // tids are padded
	t := p.task(tid)
	switch {
	case strings.HasPrefix(rest, "+++ "):
		return p.end(t, rest)
	case strings.HasPrefix(rest, "--- "):
		return nil // a signal or a stop
	case strings.HasPrefix(rest, "<... "):
		_, tail, ok := strings.Cut(rest, " resumed>")
		head, known := p.unfinished[tid]
		if !ok || !known {
			return fmt.Errorf("a call is resumed that was not begun")
		}
		delete(p.unfinished, tid)
		return p.call(t, head+tail)
	case strings.HasSuffix(rest, "<unfinished ...>"):
		if _, known := p.unfinished[tid]; known {
			return fmt.Errorf("a call is begun inside another")
		}
		p.unfinished[tid] = strings.TrimSuffix(strings.TrimSuffix(rest, "<unfinished ...>"), " ")
		return nil
	}
	return p.call(t, rest)
}

// end reads "+++ exited with 3 +++" and its like.
func (p *parser) end(t *Task, text string) error {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "+++ "), " +++")
	if code, ok := strings.CutPrefix(text, "exited with "); ok {
		n, err := strconv.Atoi(code)
		if err != nil {
			return fmt.Errorf("bad exit code: %w", err)
		}
		t.Ended, t.Code = true, n
	} else if sig, ok := strings.CutPrefix(text, "killed by "); ok {
		sig, t.Core = strings.CutSuffix(sig, " (core dumped)")
		t.Ended, t.Signal = true, sig
	} else if by, ok := strings.CutPrefix(text, "superseded by execve in pid "); ok {
		// The other thread goes on under this tid, and its call with it.
		n, err := strconv.Atoi(by)
		if err != nil {
			return fmt.Errorf("bad tid: %w", err)
		}
		heir := p.task(n)
		t.Ended, t.Superseded = true, true
		if call, ok := p.unfinished[n]; ok {
			delete(p.unfinished, n)
			p.unfinished[t.TID] = call
		}
		delete(p.live, n)
		heir.TID, p.live[t.TID] = t.TID, heir
		return nil
	} else {
		return fmt.Errorf("unknown end of a task")
	}
	delete(p.live, t.TID)
	delete(p.unfinished, t.TID) // a call that killed its task, or was killed in
	return nil
}

// call reads "name(arguments) = result".
func (p *parser) call(t *Task, text string) error {
	name, rest, ok := strings.Cut(text, "(")
	if !ok {
		return fmt.Errorf("not a system call")
	}
	i := strings.LastIndex(rest, ") ") // strings are in hex and hold no parentheses
	if i < 0 {
		return fmt.Errorf("a system call without an end")
	}
	args, result := rest[:i], strings.TrimLeft(rest[i+2:], " ")
	result, ok = strings.CutPrefix(result, "= ")
	if !ok {
		return fmt.Errorf("a system call without a result")
	}
	n, _, _ := strings.Cut(result, " ")
	value, err := strconv.Atoi(n)
	switch name {
	case "exit_group", "clone", "clone3", "fork", "vfork":
		return nil // what they make says so itself, even if its creator was killed in the call
	case "execve", "execveat":
		if err != nil || value != 0 {
			return nil // it failed, or its task was killed in it
		}
		e, err := parseExec(name, args)
		if err == nil {
			t.Execs = append(t.Execs, e)
		}
		return err
	}
	return fmt.Errorf("unexpected system call %q", name)
}

// parseExec reads the arguments of an exec.
func parseExec(name, args string) (Exec, error) {
	var e Exec
	var err error
	if name == "execveat" {
		e.FD, args, _ = strings.Cut(args, ", ")
	}
	if e.Path, args, err = quoted(args); err != nil {
		return e, err
	}
	args, ok := strings.CutPrefix(args, ", ")
	if !ok {
		return e, fmt.Errorf("no argv behind the path")
	}
	if strings.HasPrefix(args, "NULL") {
		return e, nil
	}
	if args, ok = strings.CutPrefix(args, "["); !ok {
		return e, fmt.Errorf("argv is no list")
	}
	for !strings.HasPrefix(args, "]") {
		var arg string
		if arg, args, err = quoted(args); err != nil {
			return e, err
		}
		e.Argv = append(e.Argv, arg)
		args = strings.TrimPrefix(args, ", ")
	}
	return e, nil
}

// quoted reads a string in quotes from the front of text. A string that
// strace has cut is an error.
func quoted(text string) (s, rest string, err error) {
	body, ok := strings.CutPrefix(text, `"`)
	if !ok {
		return "", "", fmt.Errorf("no string where one is due")
	}
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		switch c := body[i]; c {
		case '"':
			if rest = body[i+1:]; strings.HasPrefix(rest, "...") {
				return "", "", fmt.Errorf("strace has cut a string")
			}
			return b.String(), rest, nil
		case '\\':
			v, n := escape(body[i+1:])
			if n == 0 {
				return "", "", fmt.Errorf("an unknown escape")
			}
			b.WriteByte(v)
			i += n
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("a string without an end")
}

// escape decodes what stands behind a backslash and says how long it is, 0 if
// it is no escape.
func escape(s string) (c byte, n int) {
	if s == "" {
		return 0, 0
	}
	if i := strings.IndexByte(`nrtvf"\`, s[0]); i >= 0 {
		return "\n\r\t\v\f\"\\"[i], 1
	}
	if s[0] == 'x' {
		if len(s) < 3 {
			return 0, 0
		}
		v, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			return 0, 0
		}
		return byte(v), 3
	}
	for n < 3 && n < len(s) && '0' <= s[n] && s[n] <= '7' {
		n++
	}
	if n == 0 {
		return 0, 0
	}
	v, err := strconv.ParseUint(s[:n], 8, 8)
	if err != nil {
		return 0, 0
	}
	return byte(v), n
}
