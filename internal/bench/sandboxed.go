package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/modules"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// sandboxed is the watcher that runs a load itself, with the source ptrace and a
// stock module of the sandbox: see superviseWith.
const sandboxed = "sandboxed"

// execRule is the stock module of the sandbox that decides about execs.
const execRule = "execrule"

// sandbox measures that module: with it and without it, in turns.
func (s *stock) sandbox(ctx context.Context, result *sandboxResult) error {
	result.Module = execRule
	n := roundUp(s.n[Exec] / wrapsSlow)
	measure := func(module string) (time.Duration, error) {
		s.cfg.progress("under ptrace: %s", module)
		argv := slices.Concat(s.cfg.Self, []string{sandboxed + "=" + module, string(s.p.tag)}, s.p.command(Exec, n, s.cpus.load, 0))
		return runLoad(ctx, exec.CommandContext(ctx, argv[0], argv[1:]...))
	}
	var ratios, alone []float64
	before, err := measure("")
	for end := time.Now().Add(time.Duration(sandboxPart * float64(s.cfg.Limit))); err == nil && (len(ratios) == 0 || time.Now().Before(end)); {
		var with, after time.Duration
		if with, err = measure(execRule); err == nil {
			after, err = measure("")
		}
		if err == nil {
			mean := float64(before+after) / 2
			alone = append(alone, mean/float64(n))
			ratios = append(ratios, mean/float64(with))
			before = after
		}
	}
	if err != nil && ctx.Err() == nil {
		result.Missing = strings.Join(strings.Fields(err.Error()), " ")
		return nil
	}
	result.AloneNS, result.Exec, result.Pairs = SpreadOf(alone).Median, intervalAt(ratios, 0.95), len(ratios)
	return err
}

// superviseWith runs a command with the source ptrace and a stock module of the
// sandbox, which may deny execs and denies none; or without one, if name is empty.
// What happens goes to a sink that drops it.
func superviseWith(name string, argv []string) (err error) {
	if len(argv) == 0 {
		return errors.New("bench: there is no command to supervise")
	}
	var reg taskwatch.Registry
	if err := reg.Attach(taskwatch.NewSink(taskwatch.WantAll(taskwatch.AllKinds), func(taskwatch.Item) {})); err != nil {
		return err
	}
	if name != "" {
		stock := modules.Find(name)
		if stock == nil || !stock.Sandboxed() {
			return fmt.Errorf("bench: there is no stock module %q of the sandbox", name)
		}
		object, err2 := wasm.Parse(name, stock.Object())
		if err2 != nil {
			return err2
		}
		defer func() { err = errors.Join(err, object.Close()) }()
		m, err2 := object.Load(wasm.LoadOptions{Params: map[string]string{"program": "/nowhere/"}})
		if err2 != nil {
			return err2
		}
		defer func() { err = errors.Join(err, m.Close()) }()
		if err := reg.Register(m.Watchers(taskwatch.KindsOf(taskwatch.Exec))); err != nil {
			return err
		}
	}
	src, err := ptrace.New(ptrace.Config{Command: &source.Command{Path: argv[0], Argv: argv}})
	if err != nil {
		return err
	}
	if err := src.Run(context.Background(), &reg); err != nil {
		return err
	}
	return endedWell(src, argv)
}

// endedWell returns an error if the command has not ended with status 0.
func endedWell(src *ptrace.Source, argv []string) error {
	if exit := src.Exit(); exit.Code != 0 || exit.Signal != 0 {
		return fmt.Errorf("bench: %s ended with %v", argv[0], exit)
	}
	return nil
}
