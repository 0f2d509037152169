package daemon

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/classify"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/module/host"
	stock "github.com/taskwatch/taskwatch/modules"
)

// ClassifyModule is the name of the module that decides by the rules of
// [Config.Classify].
const ClassifyModule = classify.Module

// errRules is in errors of the module's rules.
var errRules = errors.New("the rules of classify")

// classifier moves processes as the module classify decides, by the rules of
// [Config.Classify].
type classifier struct {
	file  string
	d     *Daemon
	queue *taskwatch.Queue // nil until it is started

	moved, failed, lost atomic.Uint64

	// logging counts what is on its way to the log. Moves do not wait for the log: its
	// reader may be one of the processes that are stopped.
	logging sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	mover   classify.Mover
	text    []byte          // of the rules that hold
	entries []byte          // of the module's map, for these
	told    map[string]bool // what the log has of them
	guards  map[host.Module]*classify.Guard
}

// openClassifier reads the rules, so that errors show before anything runs.
func (d *Daemon) openClassifier(file string) error {
	c := &classifier{file: file, d: d, mover: classify.Mover{Root: procfs.UnifiedMount()}, guards: map[host.Module]*classify.Guard{}}
	if err := c.mover.Check(); err != nil {
		return fmt.Errorf("daemon: classify: %w", err)
	}
	if _, err := c.read(); err != nil {
		return err
	}
	d.classifier = c
	return nil
}

// read reads the rules, which hold from then on, and returns the entries of the
// module's map. They are the same where the file is.
func (c *classifier) read() ([]byte, error) {
	text, err := os.ReadFile(c.file)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w; give a file that can be read", errRules, c.file, bare(err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries != nil && bytes.Equal(text, c.text) {
		return c.entries, nil
	}
	rules, err := classify.Parse(bytes.NewReader(text))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w %q: %w", errRules, c.file, err)
	case len(rules) == 0:
		return nil, fmt.Errorf("%w %q: there are none; give lines USER CONTROLLERS DESTINATION", errRules, c.file)
	}
	entries, err := c.mover.Add(rules)
	if err != nil {
		return nil, err
	}
	c.text, c.entries, c.told = text, entries, map[string]bool{}
	return entries, nil
}

// start has decisions carried out.
func (c *classifier) start() error {
	if c == nil {
		return nil
	}
	c.queue = taskwatch.NewQueue(taskwatch.NewSink(nil, c.take), taskwatch.QueueOptions{})
	if err := c.d.registry.Attach(c.queue); err != nil {
		return errors.Join(err, c.queue.Close(context.Background()))
	}
	return nil
}

func (c *classifier) take(it taskwatch.Item) {
	switch {
	case it.Loss != nil:
		c.lost.Add(max(it.Loss.Count, 1))
		c.eachGuard((*classify.Guard).Lost)
	case it.Record != nil && it.Record.Module == classify.Module:
		c.move(it.Record.Data)
	}
}

// move does what a record of the module says.
func (c *classifier) move(record []byte) {
	c.mu.Lock()
	o, err := c.mover.Move(record)
	c.mu.Unlock()
	c.eachGuard(func(g *classify.Guard) error { return g.Done(o, err) })
	switch err = cmp.Or(err, o.Err); {
	case err != nil:
		c.failed.Add(1)
		line := 0
		if o.Rule != nil {
			line = o.Rule.Line
		}
		// One of each kind: a rule that never works may hold for every process.
		c.warn(strconv.Itoa(line)+" "+o.Group, "processes are not moved", "line", line, "group", o.Group, "pid", o.PID, "name", o.Name, "error", err)
	case o.Moved:
		c.moved.Add(1)
	}
}

// eachGuard calls do with the guard of each module that stops processes.
func (c *classifier) eachGuard(do func(*classify.Guard) error) {
	var errs []error
	c.mu.Lock() // a guard that is ended is not among them any more
	for _, g := range c.guards {
		errs = append(errs, do(g))
	}
	c.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		c.warn("continue", "processes may stay stopped", "error", err)
	}
}

// warn logs the first failure of a kind.
func (c *classifier) warn(kind, what string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[kind] || len(c.told) >= maxTold {
		return
	}
	c.told[kind] = true
	c.logging.Go(func() { c.d.log.Warn("classify: "+what, args...) })
}

// maxTold is how many kinds of failures of the same rules the log has.
const maxTold = 256

// end carries out what was decided.
func (c *classifier) end() {
	if c == nil || c.queue == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), logEnd)
	defer cancel()
	if err := c.d.detach(ctx, c.queue); err != nil {
		c.d.log.Warn("classify: not all processes were moved", "error", err)
	}
	c.logging.Wait()
}

// withRules gives the module classify the rules of the configuration.
func (d *Daemon) withRules(s *spec) error {
	if s.ruled || s.name != classify.Module || !stock.IsStock(s.file) {
		return nil
	}
	given := s.contents[classify.Map] != nil
	switch {
	case d.classifier != nil && given:
		return fmt.Errorf("%w: the daemon has its own; leave them out, or start the daemon without", errRules)
	case given:
		return nil // for a client that moves processes
	case d.classifier == nil:
		return fmt.Errorf("%w: the daemon has no rules; give it a file with 'serve --classify FILE', or classify = \"FILE\" in its configuration", errRules)
	}
	entries, err := d.classifier.read()
	if err != nil {
		return err
	}
	contents := map[string][]byte{classify.Map: entries}
	maps.Copy(contents, s.contents)
	s.contents, s.ruled = contents, true
	return nil
}
