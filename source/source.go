// Package source defines what a source of task events is and what it
// declares. The implementations live in the packages below it.
package source

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// Source delivers the events of some tasks to a registry.
type Source interface {
	// Name returns the source's name as it stands in recordings.
	Name() string

	// Capabilities returns everything that the source can deliver. It may be
	// called at any time and costs nothing.
	Capabilities() Capabilities

	// Run delivers events until the source has no more of them, ctx ends, or
	// the source fails. It gathers only what reg's modules watch. A source
	// runs once.
	//
	// If ctx ends, the source releases everything that it holds, and Run
	// returns nil. Each source documents what then happens to supervised tasks.
	Run(ctx context.Context, reg *taskwatch.Registry) error

	// Close releases what a source that is not run has acquired. It does
	// nothing once Run was called, or when it is called again.
	Close() error
}

// Refresher is a source that checks only from time to time what is watched.
type Refresher interface {
	Source

	// Refresh returns once the source gathers what the modules watched when
	// it was called: they get the events that happen from then on. It fails
	// when the source has ended, or ctx has, and with a [*Shortage] where some
	// of it cannot be gathered; the rest is.
	Refresh(ctx context.Context) error
}

// Shortage names watched events that do not come, because this machine does not
// let the source attach to their hooks now. The source goes on without them.
type Shortage struct {
	Kinds       taskwatch.Kinds
	FailedExecs bool // execs that failed do not come either
	Err         error
}

func (s *Shortage) Error() string {
	var what []string
	if s.Kinds != 0 {
		what = append(what, s.Kinds.String())
	}
	if s.FailedExecs {
		what = append(what, taskwatch.FailedExecName)
	}
	return fmt.Sprintf("%s cannot be observed: %v", strings.Join(what, ","), s.Err)
}

// Unwrap returns the cause.
func (s *Shortage) Unwrap() error { return s.Err }

// ShortOf returns err, or nil if it is only a shortage of events that were not
// asked for: neither of these kinds nor, with failedExecs, execs that failed.
func ShortOf(err error, kinds taskwatch.Kinds, failedExecs bool) error {
	var s *Shortage
	if errors.As(err, &s) && s.Kinds&kinds == 0 && !(s.FailedExecs && failedExecs) {
		return nil
	}
	return err
}

// Capabilities declare, per kind of event, what a source delivers. What is
// not declared is never delivered.
type Capabilities struct {
	Events [taskwatch.NumKinds]Capability

	// Scope is what the events cover, in words: "one command and its
	// descendants", "the machine", "a recording".
	Scope string
}

// Capability is what a source can do for one kind of event.
type Capability struct {
	Delivered bool             // the event is delivered
	Veto      bool             // the error of a watcher denies the operation
	Missing   taskwatch.Fields // fields of that kind that are always missing; of optional ones, where they are asked for
	MayMiss   taskwatch.Fields // default fields that single events may miss, and then list in Event.Missing, as any optional one
	Hook      string           // what it is observed by, in the kernel's words
	Why       string           // why it is not delivered, cannot be vetoed, or lacks fields; "" if it is complete
}

// Kinds returns the kinds that are delivered.
func (c *Capabilities) Kinds() taskwatch.Kinds {
	return c.where(func(e Capability) bool { return e.Delivered })
}

// VetoKinds returns the kinds that can be vetoed.
func (c *Capabilities) VetoKinds() taskwatch.Kinds {
	return c.where(func(e Capability) bool { return e.Veto })
}

func (c *Capabilities) where(has func(Capability) bool) taskwatch.Kinds {
	var set taskwatch.Kinds
	for k, e := range c.Events {
		if has(e) {
			set |= taskwatch.KindsOf(taskwatch.Kind(k))
		}
	}
	return set
}
