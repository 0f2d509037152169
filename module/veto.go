package module

import (
	"errors"
	"fmt"

	"github.com/taskwatch/taskwatch"
)

// Errors of modules that want to deny something, to be found with errors.Is.
var (
	// ErrNoVeto says that a module wants to deny operations that cannot be
	// denied here.
	ErrNoVeto = errors.New("no veto")

	// ErrSkippable says that some operations pass here that a module would
	// have denied.
	ErrSkippable = errors.New("a veto can be skipped on this kernel, while another task is preempted in the hook")
)

// NoVeto returns the error of a module that wants to deny kinds that cannot be
// denied. where completes "no veto".
func NoVeto(kinds taskwatch.Kinds, where string) error {
	return fmt.Errorf("it wants to deny %s, which is impossible here: %w %s; with --allow-observe-only (allow_observe_only) it runs anyway, and denies nothing",
		kinds, ErrNoVeto, where)
}

// BestEffort returns the error of a module whose vetoes on kinds can be
// skipped, with what decides that.
func BestEffort(kinds taskwatch.Kinds, why string) error {
	return fmt.Errorf("it wants to deny %s: %w (%s); with --allow-best-effort (allow_best_effort) it runs anyway, and skipped denials are counted",
		kinds, ErrSkippable, why)
}
