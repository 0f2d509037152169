package report

import "github.com/taskwatch/taskwatch"

// Failure is a watcher's error as people are told of it. Modules make it of
// what the registry reports; it is exported for errors that come from a
// recording.
type Failure struct {
	Module  string // "" for a built-in
	Watcher string // the function's name
	Message string
	Panic   bool // the watcher crashed
	Refused bool // the operation was refused
	DryRun  bool // the operation would have been refused

	// Event is the event that the watcher failed on, borrowed, and never
	// nil. Its task may be.
	Event *taskwatch.Event
}

// FailureOptions tell a module what it cannot see in an error.
type FailureOptions struct {
	Veto   taskwatch.Kinds // the events that the source can refuse
	DryRun bool            // the source reports refusals and does not apply them
}

func (o FailureOptions) failure(we *taskwatch.WatcherError) *Failure {
	f := &Failure{Module: we.Module, Watcher: we.Watcher, Panic: we.Panic != nil, Event: we.Event}
	if we.Err != nil {
		f.Message = we.Err.Error()
	}
	if f.Event == nil {
		f.Event = &taskwatch.Event{Kind: we.Kind, Missing: taskwatch.FieldsOf(we.Kind)}
	}
	if we.Veto && o.Veto.Has(we.Kind) {
		f.Refused, f.DryRun = !o.DryRun, o.DryRun
	}
	return f
}

// verdict says what became of the event, and by whom.
func (f *Failure) verdict() string {
	switch {
	case f.Refused:
		return " refused by " + f.who()
	case f.DryRun:
		return " would be refused (dry run) by " + f.who()
	case f.Panic:
		return ": crash of " + f.who()
	}
	return ": error of " + f.who()
}

// who names the module and its watcher.
func (f *Failure) who() string {
	module := "a built-in"
	if f.Module != "" {
		module = clean(f.Module)
	}
	if f.Watcher == "" {
		return module
	}
	return module + " (" + clean(f.Watcher) + ")"
}
