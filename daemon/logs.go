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
	"github.com/taskwatch/taskwatch/source"
)

// logEnd is how long the end of a log waits for its disk.
const logEnd = 10 * time.Second

// logs are the logs of a daemon.
type logs struct {
	reloads sync.Mutex // one at a time; guards what follows
	current []*logFile
	opened  []*outfile.Log // of the configuration, before the source runs
}

// logFile is one log: a sink that chooses, with a queue behind it, so that the
// source never waits for a disk.
type logFile struct {
	*stream
	cfg  LogConfig
	sink *logSink
}

// Wants returns what the log chooses and shows.
func (l *logFile) Wants() taskwatch.Wants {
	w := l.stream.Wants()
	for k, fields := range l.sink.Wants() {
		w[k] |= fields
	}
	return w
}

// Take puts an item into the queue. Text needs others than those that are chosen,
// too: its lines tell of the tree.
func (l *logFile) Take(it taskwatch.Item) {
	if l.sink.text != nil {
		l.queue.Take(it)
	} else {
		l.stream.Take(it)
	}
}

// openLogs opens the files of the configuration: what cannot be written is said
// before anything runs.
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
	return c.open(func(err error) { d.log.Error("the log is not kept as it is to be", "log", c.File, "error", err) })
}

// closeOpened closes the files of a daemon that is not run.
func (d *Daemon) closeOpened() error {
	var errs []error
	for _, f := range d.logs.opened {
		errs = append(errs, f.Close())
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

// startLog has items written to a file, which it closes if it cannot. Callers
// hold reloads.
func (d *Daemon) startLog(ctx context.Context, c LogConfig, f *outfile.Log) error {
	s, err := c.chosen()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l := &logFile{stream: s, cfg: c}
	l.sink = newLogSink(&c, s, f, source.NewStart(d.source, nil), d.log, d.fail)
	s.queue = taskwatch.NewQueue(l.sink, taskwatch.QueueOptions{Size: d.limits.logs})
	defer l.sink.begin(s.queue)
	if err := d.registry.Attach(l); err != nil {
		l.sink.begin(s.queue)
		return errors.Join(err, s.queue.Close(context.Background()))
	}
	d.logs.current = append(d.logs.current, l)
	if err := errors.Join(d.refresh(ctx, l.Wants().Kinds(), s.failed), s.scan()); err != nil {
		d.log.Error("the log has not all events", "log", c.File, "error", err)
	}
	d.log.Info("writing a log", "log", c.File)
	return nil
}

// endLog writes what waits, for a while. Callers hold reloads.
func (d *Daemon) endLog(l *logFile) {
	ctx, cancel := context.WithTimeout(context.Background(), logEnd)
	defer cancel()
	if err := d.detach(ctx, l); err != nil {
		d.log.Error("the log is not complete", "log", l.cfg.File, "error", err)
	}
	if n := l.queue.Dropped() + l.sink.dropped.Load(); n > 0 {
		d.log.Warn("the log lacks items", "log", l.cfg.File, "dropped", n)
	}
	d.logs.current = slices.DeleteFunc(d.logs.current, func(o *logFile) bool { return o == l })
}

// endLogs ends all logs.
func (d *Daemon) endLogs() {
	d.logs.reloads.Lock()
	defer d.logs.reloads.Unlock()
	for _, l := range slices.Clone(d.logs.current) {
		d.endLog(l)
	}
}

// ReopenLogs has lines go to the files that have the names now, also of logs that
// were stopped.
func (d *Daemon) ReopenLogs() error {
	d.logs.reloads.Lock()
	defer d.logs.reloads.Unlock()
	var errs []error
	for _, l := range d.logs.current {
		errs = append(errs, l.sink.reopen())
	}
	return errors.Join(errs...)
}

// ReloadLogs brings the logs to what the configuration is now. Those that have
// not changed lose nothing, and go on in the file that has their name now; those
// that have changed begin anew. If the list is no good, or a new file cannot be
// opened, what was there goes on.
func (d *Daemon) ReloadLogs(ctx context.Context, list []LogConfig) error {
	if err := checkLogs(list); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	d.logs.reloads.Lock()
	defer d.logs.reloads.Unlock()
	var errs []error
	for _, l := range slices.Clone(d.logs.current) {
		if !slices.ContainsFunc(list, func(c LogConfig) bool { return c.File == l.cfg.File }) {
			d.endLog(l)
			d.log.Info("the log is ended", "log", l.cfg.File)
		}
	}
	for _, c := range list {
		i := slices.IndexFunc(d.logs.current, func(l *logFile) bool { return l.cfg.File == c.File })
		if i >= 0 && reflect.DeepEqual(d.logs.current[i].cfg, c) {
			errs = append(errs, d.logs.current[i].sink.reopen())
			continue
		}
		if i >= 0 {
			d.endLog(d.logs.current[i]) // a file has one writer
		}
		f, err := d.openLog(&c)
		if err == nil {
			err = d.startLog(ctx, c, f)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
