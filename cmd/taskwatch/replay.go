package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source/replay"
)

// replayFlags are the flags of replay.
type replayFlags struct {
	outputFlags
	modules moduleFlags
}

func newReplay() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay FILE [flags]",
		Short: "Show a recording",
		Long: `replay reads the recording FILE, as 'taskwatch run -f json' writes it, and shows
its events as if they happened now. A FILE of - is standard input.

Events go to standard output, or to a file with --output. So do the summary and
the variables of modules; with the json format they go to standard error.

A module for the sandbox (--module FILE.wasm) is called for every event of the
recording, as if it happened now, but cannot deny anything. Its errors and its
records are shown among the events. However slow it is, it misses no event.

The exit status is:

    0    the recording was replayed to its end; if it ends early, because its
         recorder was killed, a message says so
    1    the rest of the recording cannot be read, or the events cannot be
         written; everything before that is shown
    2    the command line is wrong
    128  plus the number of the signal that ended it

` + summaryHelp,
		Example: `  taskwatch replay events.jsonl
  taskwatch replay events.jsonl --summary -o /dev/null
  taskwatch replay -e exec,exit -f json events.jsonl -o short.jsonl
  taskwatch replay -m rule.wasm,level=2 --globals events.jsonl
  taskwatch replay - < events.jsonl`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("%s given: taskwatch replay FILE [flags]", plural(len(args), "file", "files")))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.replay(cmd, args[0]) },
	}
	cmd.Flags().SortFlags = false
	f.outputFlags.add(cmd)
	f.modules.add(cmd, "at the end")
	return cmd
}

func replayFailed(err error) error { return &exitError{status: exitFailed, err: err} }

func (f *replayFlags) replay(cmd *cobra.Command, name string) error {
	if err := errors.Join(f.check(cmd), f.modules.check()); err != nil {
		return &exitError{status: exitUsage, err: err}
	}
	files, err := f.modules.parse()
	if err != nil {
		return replayFailed(err)
	}
	defer files.close()
	if files.kernel() {
		return replayFailed(errors.New("modules for the kernel (-m FILE.o) cannot be called for a recording; build a FILE.wasm"))
	}
	in, err := openRecording(name)
	if err != nil {
		return replayFailed(err)
	}
	defer in.Close()
	if err := f.checkOutputs(in); err != nil {
		return replayFailed(err)
	}
	return f.show(in, files)
}

// checkOutputs returns an error if an output is the recording itself.
func (f *replayFlags) checkOutputs(in *os.File) error {
	for _, file := range f.files {
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() {
			if own, err := in.Stat(); err == nil && os.SameFile(st, own) {
				return fmt.Errorf("--output %q: it is the recording itself; name another file", file)
			}
		}
	}
	return nil
}

// show shows a recording, and calls the modules for it.
func (f *replayFlags) show(in *os.File, files moduleFiles) error {
	out, err := f.open(os.Stdout)
	if err != nil {
		return replayFailed(err)
	}
	progress := showReading(in, out.alone())
	defer progress.end()
	src, err := replay.New(replay.Config{Reader: progress, Name: in.Name()})
	if err != nil {
		return replayFailed(err)
	}
	var reg taskwatch.Registry
	if err := out.attach(&reg, src, asRecorded); err != nil {
		return replayFailed(err)
	}
	modules, err := files.start(src, &reg, &f.modules)
	if err != nil {
		return replayFailed(err)
	}
	sig, err := untilRead(src, &reg)
	progress.end()
	if sig != nil {
		out.incomplete()
		// The source may be waiting for its next line for ever.
		return &exitError{status: exitSignal + int(sig.(syscall.Signal)), err: out.close()}
	}
	early := src.EarlyEnds()
	if err != nil || len(early) > 0 && !early[len(early)-1].More {
		out.incomplete()
	}
	outErr := errors.Join(modules.drain(), out.close())
	if f.modules.globals && err == nil {
		outErr = errors.Join(outErr, modules.show(out.summaryTo))
	}
	outErr = errors.Join(outErr, modules.close())
	sayEarly(in.Name(), early)
	if src.Empty() {
		say("%s: the recording is empty", in.Name())
	}
	switch {
	case err != nil && outErr != nil:
		return replayFailed(fmt.Errorf("%w; and %w", err, outErr))
	case err != nil || outErr != nil:
		return replayFailed(errors.Join(err, outErr))
	}
	return nil
}

// untilRead reads a recording to its end, or until a signal comes, which it returns: a
// read of a terminal or a pipe may wait for ever.
func untilRead(src *replay.Source, reg *taskwatch.Registry) (os.Signal, error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endings()...)
	done := make(chan error, 1)
	go func() { done <- src.Run(context.Background(), reg) }()
	select {
	case err := <-done:
		return nil, err
	case sig := <-signals:
		return sig, nil
	}
}

// sayEarly says where a recording ends early.
func sayEarly(name string, early []record.EarlyEnd) {
	for _, e := range early {
		where := fmt.Sprintf("with line %d", e.Line)
		if e.Partial {
			where = fmt.Sprintf("in the middle of line %d, which is left out", e.Line)
		}
		if e.More {
			say("%s: a recording ends early, %s; another one follows", name, where)
		} else {
			say("%s: the recording ends early, %s: its recorder was killed, or could not write", name, where)
		}
	}
}

// giveRecording is the remedy for what is no recording.
const giveRecording = "give a file that 'taskwatch run -f json -o FILE' has written"

// openRecording opens a file, or standard input for "-".
func openRecording(name string) (*os.File, error) {
	if name == "-" {
		return os.Stdin, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("recording %q: %w; %s", name, cause(err), giveRecording)
	}
	return f, nil
}
