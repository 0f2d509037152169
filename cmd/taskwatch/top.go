package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/replay"
)

// topFlags are the flags of top.
type topFlags struct {
	modules moduleFlags
	source  string
	socket  string
	speed   string
	where   string

	factor float64 // of speed; 0 is as fast as possible
}

const speedMax = "max"

func newTop() *cobra.Command {
	var f topFlags
	cmd := &cobra.Command{
		Use:   "top [FILE] [flags]",
		Short: "Show on a terminal what happens now",
		Long: `top fills the terminal with what happens to the tasks of the machine: the tree
of processes with those that were born and that died just now; rates by program,
user and container; the slowest programs, those that failed, and modules with
what they deny. With a FILE it plays that recording, as 'taskwatch run -f json'
writes it, as if it happened now.

The keys:

    up down pgup pgdn home end    move in a table
    left right                    the rest of what does not fit
    tab, 1 to 7                   the other tables
    /  n  N                       search, the next one, the one before
    w                             show and count only processes for which an
                                  expression is true ('taskwatch help filter')
    f                             in the tree, stay with the newest process
    p                             pause
    P                             in the tree, go to the parent
    enter                         from another table to the process in the tree
    c                             copy the command line, if the terminal lets
                                  programs set its clipboard (OSC 52)
    ?                             help, and what the marks and colours mean
    q                             end; so does Ctrl-C. Ctrl-Z stops

What does not fit into memory's bounds is forgotten, the oldest first: 4096
processes that have ended, 500 failures, the 200 slowest programs. Nothing is
drawn while nothing changes. 80 columns and 24 lines are enough.

Sources are those of 'taskwatch watch'; with --source daemon, top needs no
privileges but those to read from the daemon. Where there is no terminal, watch
and replay show events as text.

The exit status is:

    0    a key or a signal ended it
    1    watching cannot begin or go on, the recording cannot be read, or there
         is no terminal
    2    the command line is wrong`,
		Example: `  sudo taskwatch top
  taskwatch top --source daemon
  taskwatch top events.jsonl
  taskwatch top --speed max events.jsonl
  taskwatch top --where 'user == "www-data"'
  sudo taskwatch top -m count.o,uid=1000`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(fmt.Errorf("%s given: taskwatch top [FILE] [flags]", plural(len(args), "file", "files")))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			if err := f.top(args); err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	addExpression(flags, &f.where, "where", "show and count only processes for which this `expression` is true, as w does")
	flags.StringVar(&f.speed, "speed", "1", "play a recording this `number` of times as fast as it was, or max")
	f.modules.addSpecs(cmd)
	f.modules.addObserveOnly(cmd)
	flags.StringVar(&f.source, "source", auto.Name, "`where` events come from: auto, the best that works, bpf, connector or daemon")
	flags.StringVar(&f.socket, "socket", daemon.DefaultSocket, "the daemon of --source daemon serves at this `path`")
	complete(cmd, "where", cobra.NoFileCompletions)
	complete(cmd, "speed", cobra.FixedCompletions([]string{"1", "10", speedMax}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "source", cobra.FixedCompletions(append(auto.Names(), daemon.SourceName), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *topFlags) check(cmd *cobra.Command, args []string) error {
	if f.speed != speedMax {
		factor, err := strconv.ParseFloat(f.speed, 64)
		if err != nil || !(factor > 0 && factor <= 1e6) {
			return fmt.Errorf("--speed %q: give a number above 0, such as 0.5 or 10, or max", f.speed)
		}
		f.factor = factor
	}
	for _, name := range []string{"speed", "source"} {
		if cmd.Flags().Changed(name) && (name == "speed") != (len(args) == 1) {
			if name == "speed" {
				return errors.New("--speed: it is about a recording; name a FILE")
			}
			return errors.New("--source: a recording has its source in it; leave --source or the FILE out")
		}
	}
	if cmd.Flags().Changed("socket") && f.source != daemon.SourceName {
		return errSocket
	}
	if f.where == "" && cmd.Flags().Changed("where") {
		return errors.New("--where: the expression is empty; see 'taskwatch help filter'")
	}
	if f.where != "" {
		if _, err := f.reads(); err != nil {
			return fmt.Errorf("--where: %w", err)
		}
	}
	return f.modules.check()
}

// reads returns the optional fields that the expression reads.
func (f *topFlags) reads() (taskwatch.Fields, error) {
	if f.where == "" {
		return 0, nil
	}
	parsed, err := filter.Parse(f.where, filter.Options{})
	if err != nil {
		return 0, err
	}
	return parsed.Reads() & taskwatch.OptionalFields, nil
}

func (f *topFlags) top(args []string) error {
	if err := needsScreen("'taskwatch watch' and 'taskwatch replay FILE' write events anywhere"); err != nil {
		return err
	}
	files, err := f.modules.parse()
	if err != nil {
		return err
	}
	defer files.close()
	fields, err := f.reads()
	if err != nil {
		return err
	}
	ctx, cancel := untilSignal()
	defer cancel()
	s := newDisplay(ctx, fields, len(args) == 1)
	if len(args) == 0 {
		s.nameContainers()
	}
	if err := s.view.Where(f.where); err != nil {
		return fmt.Errorf("--where: %w", err)
	}
	if len(args) == 1 {
		return f.recording(s, args[0], files)
	}
	return f.machine(s, files)
}

// recording plays a recording.
func (f *topFlags) recording(s *display, name string, files moduleFiles) error {
	if files.kernel() {
		return errors.New("modules for the kernel (-m FILE.o) run in the kernel only, where a recording does not come by; build a FILE.wasm")
	}
	in, err := openRecording(name)
	if err != nil {
		return err
	}
	defer in.Close()
	src, err := replay.New(replay.Config{Reader: in, Name: in.Name()})
	if err != nil {
		return err
	}
	s.view.Source = filepath.Base(in.Name()) // the state has to fit behind it
	s.pacer = newPacer(s.ctx, s.sink, f.factor)
	s.over = func() string { return "the recording has ended" }
	if err := f.show(s, src, s.pacer, files); err != nil {
		return err
	}
	sayEarly(in.Name(), src.EarlyEnds())
	return nil
}

// machine shows what happens now.
func (f *topFlags) machine(s *display, files moduleFiles) error {
	if err := checkProc(); err != nil {
		return err
	}
	var (
		src    source.Source
		passed error
	)
	cfg := auto.Config{Kernel: files.kernel(), Config: bpf.Config{
		OnReady: func() {
			s.tell(watching(src.Capabilities().Scope, src, passed), s.scan())
		},
		OnNotice:   func(text string) { s.tell(text, nil) },
		OnShortage: func(short *source.Shortage) { s.tell(short.Error(), nil) },
	}}
	var err error
	done := func() {}
	if f.source == daemon.SourceName {
		src, done, err = openDaemon(s.ctx, f.socket, 0, cfg)
	} else {
		src, passed, err = auto.Open(f.source, cfg)
	}
	if err != nil {
		return err
	}
	defer done()
	s.view.Source = fmt.Sprintf("%s, source %s", src.Capabilities().Scope, src.Name())
	s.clock = sys.Monotonic
	s.view.Message = "the source starts"
	s.over = func() string { return "the source has ended" }
	return f.show(s, src, taskwatch.NewQueue(s.sink, taskwatch.QueueOptions{}), files)
}

// show runs the source and the screen until one of them ends it.
func (f *topFlags) show(s *display, src source.Source, to taskwatch.Sink, files moduleFiles) error {
	var reg taskwatch.Registry
	if err := reg.Attach(to); err != nil {
		return errors.Join(err, src.Close())
	}
	modules, err := files.start(src, &reg, &f.modules)
	if err != nil {
		return err
	}
	err = s.run(func(ctx context.Context) error { return src.Run(ctx, &reg) }, src.Close)
	err = errors.Join(err, modules.drain(), reg.Detach(context.Background(), to))
	return errors.Join(err, modules.close())
}

// needsScreen says why there can be no screen, and what works instead.
func needsScreen(instead string) error {
	switch {
	case !isTerminal(os.Stdout):
		return errors.New("standard output is not a terminal, which a screen needs; " + instead)
	case os.Getenv("TERM") == "" || os.Getenv("TERM") == "dumb":
		return fmt.Errorf("TERM=%q: this terminal cannot move its cursor, which a screen needs; %s", os.Getenv("TERM"), instead)
	}
	return nil
}
