package daemon

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/taskwatch/taskwatch"
)

// delivery keeps account of what a log could not write, and does what the
// configuration says of that. Except for stopped and dropped, it belongs to the
// goroutine of the log's queue.
type delivery struct {
	cfg LogConfig
	log *slog.Logger
	end func(error) // ends the daemon

	lost    uint64 // that the log has not been told of
	lostSeq uint64 // of the first of them
	failing bool   // the last write has failed
	stopped atomic.Bool
	dropped atomic.Uint64 // in all
}

// init fills in d, which cannot be copied.
func (d *delivery) init(c *LogConfig, log *slog.Logger, end func(error)) {
	d.cfg, d.log, d.end = *c, log.With("log", c.Name()), end
}

// lose counts items that are missing in the log; n is how many, and a loss among
// them is not counted as dropped again.
func (d *delivery) lose(n, seq uint64, loss bool) {
	if d.lost == 0 {
		d.lostSeq = seq
	}
	d.lost += n
	if !loss {
		d.dropped.Add(n)
	}
}

// loss returns what the log has to be told of, and forgets it.
func (d *delivery) loss() taskwatch.Item {
	l := &taskwatch.Loss{Count: d.lost, Seq: d.lostSeq}
	d.lost, d.lostSeq = 0, 0
	return taskwatch.Item{Loss: l}
}

// result takes note of how a write has ended.
func (d *delivery) result(err error) {
	switch {
	case err != nil && !d.failing:
		d.failing = true
		d.fail(err)
	case err == nil && d.failing && !d.stopped.Load():
		d.failing = false
		d.log.Info("the log is written again", "dropped", d.dropped.Load())
	}
}

// fail handles a log that cannot be written.
func (d *delivery) fail(err error) {
	err = bare(err)
	switch d.cfg.OnFull {
	case LogStop:
		d.stopped.Store(true)
		d.log.Error("the log cannot be written: it is stopped until SIGHUP", "error", err)
	case LogEnd:
		d.stopped.Store(true)
		d.end(fmt.Errorf("log %q: %w; make room, or choose on_full = %q", d.cfg.Name(), err, LogDrop))
	default:
		d.log.Error("the log cannot be written: items are dropped until it can", "error", err)
	}
}

// missing returns how many items could not be written.
func (d *delivery) missing() uint64 { return d.dropped.Load() }
