package report

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/lazyregexp"
	"github.com/taskwatch/taskwatch/process"
)

// ShellOptions say what [Shell] writes. The zero value is ready for use.
type ShellOptions struct {
	// Env writes the environment, if the events have it.
	Env bool

	// EnvDiff writes only how it differs from the parent's. It overrides Env.
	EnvDiff bool

	// Environ returns the environment of a process that ran before the first
	// event, or nil if it is unknown, and whether it is not complete. It has the
	// same values left out as those of the events. It is called during Take. It
	// may be nil.
	Environ func(pid int) (env []string, cut bool)
}

// Shell is a sink that writes each exec as a line for a shell: the working
// directory, the environment if it is known and wanted, and the program with its
// arguments, quoted for bash, zsh and ksh. A comment names what is unknown.
//
// Every line is one write. After the first error of the underlying writer
// nothing more is written. All methods may be called from any goroutine.
type Shell struct {
	opts ShellOptions

	mu   sync.Mutex // guards what follows
	w    io.Writer
	err  error
	tree process.Tree
	envs environments
}

// NewShell returns a Shell that writes to w, which stays open.
func NewShell(w io.Writer, opts ShellOptions) *Shell {
	return &Shell{opts: opts, w: w, envs: environments{outside: opts.Environ}}
}

// Wants returns exec, and with EnvDiff also clone and exit.
func (s *Shell) Wants() taskwatch.Wants {
	w := taskwatch.Wants{taskwatch.Exec: taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldCwd | taskwatch.FieldPID}
	if s.opts.EnvDiff {
		for _, k := range process.Kinds.List() {
			w[k] |= process.TreeFields
		}
	}
	if s.opts.Env || s.opts.EnvDiff {
		w[taskwatch.Exec] |= taskwatch.FieldEnv
	}
	return w
}

// Pass processes an item without writing it.
func (s *Shell) Pass(it taskwatch.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follow(it)
}

// NeedsAll reports whether Shell has to get the events of all tasks: for the
// environments of parents.
func (s *Shell) NeedsAll() bool { return s.opts.EnvDiff }

// Take writes an item.
func (s *Shell) Take(it taskwatch.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(it, "")
}

// TakeUnsure writes an item with a mark, because it is unknown whether the
// filter matches.
func (s *Shell) TakeUnsure(it taskwatch.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(it, "not known whether it was asked for")
}

// Close returns the first error of the underlying writer.
func (s *Shell) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Shell) follow(it taskwatch.Item) *started {
	if !s.opts.EnvDiff {
		return nil
	}
	if it.Start != nil {
		s.envs.of = nil
	}
	step := s.tree.Take(it)
	if it.Event == nil {
		return nil
	}
	return s.envs.take(it.Event, step)
}

func (s *Shell) take(it taskwatch.Item, note string) {
	started := s.follow(it)
	if s.err != nil {
		return
	}
	var line string
	switch {
	case it.Loss != nil && it.Loss.Count == 0:
		line = shellLoss
	case it.Loss != nil:
		line = "# " + count(it.Loss.Count, "event") + " lost here"
	case it.Event != nil && it.Event.Kind == taskwatch.Exec && it.Event.Task != nil:
		line = s.line(it.Event, started, note)
	default:
		return
	}
	if _, err := io.WriteString(s.w, line+"\n"); err != nil {
		s.err = fmt.Errorf("report: writing failed: %w", err)
	}
}

// shellLoss is the line of a loss of unknown size.
const shellLoss = "# events lost here, nobody knows how many"

// ShellLossLine returns what [Shell] writes where nobody knows how many events
// were lost.
func ShellLossLine() []byte { return []byte(shellLoss + "\n") }

// identifier matches names of shell variables.
var identifier = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// pathName matches a path, and not a title that contains a slash.
var pathName = lazyregexp.New(`^(?:\.{0,2}/[^=]+|[^= /]+/[^= ]+)$`)

// commandName matches a name that a shell or env looks up in PATH.
var commandName = lazyregexp.New(`^[A-Za-z0-9_.+][A-Za-z0-9_.+-]*$`)

// line returns the line of an exec.
func (s *Shell) line(ev *taskwatch.Event, started *started, note string) string {
	t, has := ev.Task, ev.Fields()
	var notes []string
	if note != "" {
		notes = append(notes, note)
	}
	if !has.Has(taskwatch.FieldArgv) || len(t.Argv) == 0 {
		name := "a program"
		if has.Has(taskwatch.FieldExe) {
			name = clean.Word(t.Exe)
		}
		return "# process " + strconv.Itoa(t.PID) + " ran " + name + ": its arguments are not known"
	}
	env, notes := s.env(ev, started, notes)
	exe := ""
	if has.Has(taskwatch.FieldExe) {
		exe = t.Exe
	}
	words := append(env, invocation(t.Argv[0], exe, env != nil)...)
	for _, arg := range t.Argv[1:] {
		words = append(words, clean.Word(arg))
	}
	command := strings.Join(words, " ")
	if has.Has(taskwatch.FieldCwd) && t.Cwd != "" {
		dir := clean.Word(t.Cwd)
		if strings.HasPrefix(t.Cwd, "-") {
			dir = "./" + dir
		}
		command = "cd " + dir + " && " + command
	} else {
		notes = append(notes, "working directory not known")
	}
	if t.ArgvCut {
		notes = append(notes, "more arguments, which were not recorded")
	}
	line := "(" + command + ")"
	if len(notes) > 0 {
		line += " # " + strings.Join(notes, "; ")
	}
	return line
}

// invocation returns the words that run a program under its original name, at
// which programs such as busybox and ccache look. After env, the name must be a
// path, or must be found in PATH.
func invocation(name, exe string, behindEnv bool) []string {
	switch {
	case exe == "", path.Base(name) == path.Base(exe) && strings.Contains(name, "/"):
		return []string{clean.Word(name)}
	case path.Base(name) == path.Base(exe):
		return []string{clean.Word(exe)}
	case !behindEnv:
		return []string{"exec", "-a", clean.Word(name), clean.Word(exe)}
	case pathName.MatchString(name), commandName.MatchString(name):
		return []string{clean.Word(name)}
	}
	return []string{clean.Word(exe)}
}

// env returns the words that give a command its environment, or nil.
func (s *Shell) env(ev *taskwatch.Event, started *started, notes []string) ([]string, []string) {
	var words, variables []string
	own := environmentOf(ev)
	changes, ok := started.diff()
	switch {
	case s.opts.EnvDiff && ok:
		if started.parent.cut {
			notes = append(notes, "the parent has more variables, which were not recorded")
		}
		for _, c := range changes {
			if c.sign == '-' {
				words = append(words, "-u", clean.Word(c.variable))
			} else {
				variables = append(variables, c.variable)
			}
		}
	case !s.opts.Env && !s.opts.EnvDiff:
		return nil, notes
	case !own.known:
		return nil, append(notes, "environment not known")
	default:
		if s.opts.EnvDiff {
			notes = append(notes, "the parent's environment is not known")
		}
		words, variables = []string{"-i"}, own.list
	}
	if own.cut {
		notes = append(notes, "more variables, which were not recorded")
	}
	if slices.ContainsFunc(variables, func(v string) bool { return strings.HasPrefix(v, "-") }) {
		words = append(words, "--")
	}
	for _, v := range variables {
		name, value, valued := strings.Cut(v, "=")
		switch {
		case valued && value != Redacted:
			words = append(words, clean.Word(v))
		case identifier.MatchString(name): // left out: that of the shell has to do
			words = append(words, name+`="$`+name+`"`)
		}
	}
	if words == nil {
		return nil, notes
	}
	return append([]string{"env"}, words...), notes
}

// Redacted stands for the value of a variable that is not to be shown.
const Redacted = "[redacted]"
