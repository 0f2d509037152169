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

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/classify"
	"github.com/taskwatch/taskwatch/internal/procfs"
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

	mu      sync.Mutex // guards the fields below
	mover   classify.Mover
	text    []byte          // of the rules that hold
	entries []byte          // of the module's map, for these
	told    map[string]bool // what the log has of them
}

// openClassifier reads the rules, so that errors show before anything runs.
func (d *Daemon) openClassifier(file string) error {
	root := procfs.UnifiedMount()
	if root == "" {
		return errors.New("daemon: classify: no unified hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err == nil && st.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("daemon: classify: %s is read-only here, and nobody could be moved; for systemd give ProtectControlGroups=no in a drop-in of the unit", root)
	}
	c := &classifier{file: file, d: d, mover: classify.Mover{Root: root}}
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
	rules, err := classify.Parse(bytes.NewReader(text), classify.Host{})
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
	if it.Loss != nil {
		c.lost.Add(1)
	}
	if it.Record == nil || it.Record.Module != classify.Module {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.mover.Move(it.Record.Data)
	switch err = cmp.Or(err, o.Err); {
	case err != nil:
		c.failed.Add(1)
		line := 0
		if o.Rule != nil {
			line = o.Rule.Line
		}
		// One of each kind: a rule that never works may hold for every process.
		if kind := strconv.Itoa(line) + " " + o.Group; !c.told[kind] && len(c.told) < maxTold {
			c.told[kind] = true
			c.d.log.Warn("classify: processes are not moved", "line", line, "group", o.Group, "pid", o.PID, "name", o.Name, "error", err)
		}
	case o.Moved:
		c.moved.Add(1)
	}
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
}

// withRules gives the module classify the rules of the configuration.
func (d *Daemon) withRules(s *spec) error {
	if s.ruled || s.name != classify.Module || !stock.IsStock(s.file) {
		return nil
	}
	if s.params[classify.StopParam] != "" { // nobody would continue them after a crash
		return fmt.Errorf("%w: the daemon stops no process until it is moved; leave out stop, or run 'taskwatch classify --stop'", errRules)
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
