package daemon

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/outfile"
	"github.com/taskwatch/taskwatch/process"
	"github.com/taskwatch/taskwatch/source"
)

// logEnd is the longest wait for the disk when a log ends.
const logEnd = 10 * time.Second

// logs are the logs of a daemon.
type logs struct {
	reloads sync.Mutex     // one at a time; guards what follows
	opened  []*outfile.Log // of the configuration, before the source runs; nil where a log has no file

	mu      sync.Mutex // guards what follows, with reloads: who writes has both
	current []*logSlot
}

// all returns all logs.
func (l *logs) all() []*logSlot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.current)
}

func (l *logs) add(s *logSlot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = append(l.current, s)
}

func (l *logs) remove(s *logSlot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = slices.DeleteFunc(l.current, func(o *logSlot) bool { return o == s })
}

// find returns the log of a name, or nil.
func (l *logs) find(name string) *logSlot {
	for _, s := range l.all() {
		if s.name == name {
			return s
		}
	}
	return nil
}

// logSlot is a log's place in the registry. It stays when the configuration of
// the log changes, so no item is missed.
type logSlot struct {
	name string // LogConfig.Name

	mu     sync.Mutex // guards what follows
	log    *logFile
	before logLosses // of those that the log has replaced
}

// logLosses counts the items that are missing in a log.
type logLosses struct {
	queue uint64 // that found no room in memory
	file  uint64 // that could not be written
}

func (s *logSlot) now() *logFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log
}

// replace sends items to another log from now on, and returns the old one.
func (s *logSlot) replace(with *logFile) *logFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.log
	s.log = with
	return old
}

// losses returns how many items are missing in the file.
func (s *logSlot) losses() logLosses {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.log.losses()
	return logLosses{s.before.queue + now.queue, s.before.file + now.file}
}

// Wants implements taskwatch.Sink.
func (s *logSlot) Wants() taskwatch.Wants { return s.now().Wants() }

// WantsFailedExecs implements taskwatch.FailedExecSink.
func (s *logSlot) WantsFailedExecs() bool { return s.now().failed }

// Only implements taskwatch.OnlySink.
func (s *logSlot) Only() taskwatch.Only { return s.now().Only() }

// Take passes an item on to the current log.
func (s *logSlot) Take(it taskwatch.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Take(it)
}

// Close implements taskwatch.Sink.
func (s *logSlot) Close(ctx context.Context) error { return s.now().queue.Close(ctx) }

// logFile is one log. It selects items, and passes them to a queue, so that the
// source never waits for a disk.
type logFile struct {
	*stream
	cfg  LogConfig
	sink logWriter
}

// logWriter is the sink behind a log's queue.
type logWriter interface {
	taskwatch.Sink

	// begin starts to write to a file, if the log has one, which the sink then
	// owns. Until then items wait. The queue is its own.
	begin(*taskwatch.Queue, *outfile.Log)

	// reopen opens the file again by name, and continues a log that was stopped.
	reopen() error

	shows(taskwatch.Item) bool // whether it takes an item that is not selected
	missing() uint64           // items that could not be written
}

func (l *logFile) losses() logLosses {
	return logLosses{l.queue.Dropped(), l.sink.missing()}
}

// Wants returns what the log selects by and shows.
func (l *logFile) Wants() taskwatch.Wants {
	w := l.stream.Wants()
	for k, fields := range l.sink.Wants() {
		w[k] |= fields
	}
	return w
}

// Take puts an item into the queue.
func (l *logFile) Take(it taskwatch.Item) {
	if l.sink.shows(it) {
		l.queue.Take(it)
	} else {
		l.stream.Take(it)
	}
}

// openLogs opens the files of the configuration, so that errors show before
// anything runs.
func (d *Daemon) openLogs(list []LogConfig) error {
	if err := checkLogs(list); err != nil {
		return err
	}
	for _, c := range list {
		f, err := d.openLog(&c)
		if err != nil {
			return err
		}
		d.logs.opened = append(d.logs.opened, f)
	}
	return nil
}

func (d *Daemon) openLog(c *LogConfig) (*outfile.Log, error) {
	return c.open(func(err error) { d.log.Error("the log is not kept as it is to be", "log", c.Name(), "error", err) })
}

// closeFile closes a log's file, if it has one.
func closeFile(f *outfile.Log) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// closeOpened closes the files of a daemon that does not run.
func (d *Daemon) closeOpened() error {
	var errs []error
	for _, f := range d.logs.opened {
		errs = append(errs, closeFile(f))
	}
	d.logs.opened = nil
	return errors.Join(errs...)
}

// startLogs starts the logs whose files openLogs has opened.
func (d *Daemon) startLogs(ctx context.Context) error {
	d.logs.reloads.Lock()
	defer d.logs.reloads.Unlock()
	opened := d.logs.opened
	d.logs.opened = nil
	var errs []error
	for i, f := range opened {
		errs = append(errs, d.startLog(ctx, d.cfg.Logs[i], f))
	}
	return errors.Join(errs...)
}

// newLog returns a log that buffers items until it has begun to write.
func (d *Daemon) newLog(c LogConfig) (*logFile, error) {
	s, err := c.chosen()
	if err != nil {
		return nil, err
	}
	d.adopt(s, true)
	l := &logFile{stream: s, cfg: c}
	if c.Format == LogJournald {
		l.sink = newJournalSink(&c, s, d.log, d.fail)
	} else {
		if c.recording() {
			s.optional |= process.UsageBefore // as in every recording
		}
		l.sink = newLogSink(&c, s, source.NewStart(d.source, nil), d.log, d.fail)
	}
	s.queue = taskwatch.NewQueue(l.sink, taskwatch.QueueOptions{Size: d.limits.logs})
	return l, nil
}

// startLog starts to write items to a file. If it fails, it closes the file.
// Callers hold reloads.
func (d *Daemon) startLog(ctx context.Context, c LogConfig, f *outfile.Log) error {
	l, err := d.newLog(c)
	if err != nil {
		return errors.Join(err, closeFile(f))
	}
	slot := &logSlot{name: c.Name(), log: l}
	defer l.sink.begin(l.queue, f)
	if err := d.registry.Attach(slot); err != nil {
		l.sink.begin(l.queue, f)
		return errors.Join(err, slot.Close(context.Background()))
	}
	d.logs.add(slot)
	d.learn(ctx, l)
	d.log.Info("writing a log", "log", c.Name())
	return nil
}

// learn returns when the source delivers what a log wants.
func (d *Daemon) learn(ctx context.Context, l *logFile) {
	if err := errors.Join(d.refresh(ctx, l.Wants().Kinds(), l.failed), l.scan()); err != nil {
		d.log.Error("the log has not all events", "log", l.cfg.Name(), "error", err)
	}
}

// changeLog gives a log another configuration without missing an item. If its
// file cannot be opened again, the log ends. Callers hold reloads.
func (d *Daemon) changeLog(ctx context.Context, slot *logSlot, c LogConfig) error {
	l, err := d.newLog(c)
	if err != nil {
		return err
	}
	old := slot.replace(l)
	err = d.registry.Rewant(slot)
	d.learn(ctx, l)
	d.closeLog(old, func(ctx context.Context) error { return old.queue.Close(ctx) })
	slot.mu.Lock()
	n := old.losses()
	slot.before.queue, slot.before.file = slot.before.queue+n.queue, slot.before.file+n.file
	slot.mu.Unlock()
	f, e := d.openLog(&c) // a file has one writer
	l.sink.begin(l.queue, f)
	if err = errors.Join(err, e); e != nil {
		d.endLog(slot)
		return err
	}
	d.log.Info("writing a log as it is configured now", "log", c.Name())
	return err
}

// closeLog writes what waits, for a limited time.
func (d *Daemon) closeLog(l *logFile, end func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), logEnd)
	defer cancel()
	if err := end(ctx); err != nil {
		d.log.Error("the log is not complete", "log", l.cfg.Name(), "error", err)
	}
	if n := l.losses(); n.queue+n.file > 0 {
		d.log.Warn("the log lacks items", "log", l.cfg.Name(), "dropped", n.queue+n.file)
	}
}

// endLog writes what waits, for a limited time. Callers hold reloads.
func (d *Daemon) endLog(slot *logSlot) {
	d.closeLog(slot.now(), func(ctx context.Context) error { return d.detach(ctx, slot) })
	d.logs.remove(slot)
}

// endLogs ends all logs.
func (d *Daemon) endLogs() {
	d.logs.reloads.Lock()
	defer d.logs.reloads.Unlock()
	for _, slot := range d.logs.all() {
		d.endLog(slot)
	}
}

// ReopenLogs opens the files of all logs again by name, and continues logs that
// were stopped.
func (d *Daemon) ReopenLogs() error {
	d.logs.reloads.Lock()
	defer d.logs.reloads.Unlock()
	var errs []error
	for _, slot := range d.logs.all() {
		errs = append(errs, slot.now().sink.reopen())
	}
	return errors.Join(errs...)
}

// ReloadLogs applies a new configuration. Logs that stay lose nothing, even if
// they change, and continue in the file that has their name now. If the list is
// invalid, nothing changes. A log whose file can no longer be opened ends.
func (d *Daemon) ReloadLogs(ctx context.Context, list []LogConfig) error {
	if err := checkLogs(list); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	d.logs.reloads.Lock()
	defer d.logs.reloads.Unlock()
	var errs []error
	for _, slot := range d.logs.all() {
		if !slices.ContainsFunc(list, func(c LogConfig) bool { return c.Name() == slot.name }) {
			d.endLog(slot)
			d.log.Info("the log is ended", "log", slot.name)
		}
	}
	for _, c := range list {
		slot := d.logs.find(c.Name())
		switch {
		case slot == nil:
			f, err := d.openLog(&c)
			if err == nil {
				err = d.startLog(ctx, c, f)
			}
			errs = append(errs, err)
		case reflect.DeepEqual(slot.now().cfg, c):
			errs = append(errs, slot.now().sink.reopen())
		default:
			errs = append(errs, d.changeLog(ctx, slot, c))
		}
	}
	return errors.Join(errs...)
}
