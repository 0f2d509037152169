package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
)

// wrapped is what a watcher that runs the load itself has used.
type wrapped struct {
	took time.Duration
	cpu  time.Duration
	rss  uint64
	seen [taskwatch.NumKinds]uint64
	usage
}

// wrap runs a load under a watcher of that kind.
func (w *Watcher) wrap(ctx context.Context, cfg *Config, p *programs, l Load, n int, cpus processors) (*wrapped, error) {
	file := filepath.Join(p.dir, "output")
	argv, err := w.wrapper(cfg, p, file)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	argv = append(argv, p.command(l, n, cpus.load, 0)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := start(cmd, cpus.watcher); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", w.Name, err)
	}
	pid := cmd.Process.Pid
	r := &wrapped{}
	for !ended(pid) { // and wait later, so that its clock can be read
		if rss, err := peakRSS(pid); err == nil {
			r.rss = max(r.rss, rss)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.cpu, err = cpuTime(pid)
	after, usageErr := usageOf(pid)
	if err := errors.Join(cmd.Wait(), err, usageErr); err != nil {
		return nil, fmt.Errorf("bench: %s: %w %s", w.Name, err, errs.String())
	}
	r.usage = after
	ns, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("bench: %s: the load said %q", w.Name, out.String())
	}
	r.took = time.Duration(ns)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	count := w.lines(p)
	for line := range strings.Lines(string(text)) {
		if _, k, ok := count(strings.TrimSpace(line)); ok {
			r.seen[k]++
		}
	}
	return r, nil
}

// wrapper returns the command line of a watcher that runs the load itself, up to that
// of the load.
func (w *Watcher) wrapper(cfg *Config, p *programs, file string) ([]string, error) {
	if w.tool == "" {
		last := len(w.args) - 1
		return slices.Concat(cfg.Self, w.args[:last], []string{w.args[last] + file, string(p.tag)}), nil
	}
	path, err := w.path()
	return slices.Concat([]string{path}, w.args, []string{file}), err
}
