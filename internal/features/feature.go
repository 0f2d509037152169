package features

import (
	"errors"
	"fmt"
	"sync"
)

// Answer is what a probe found.
type Answer uint8

// The answers. Inconclusive is neither: a probe could not be carried out, for
// lack of privileges, say.
const (
	Inconclusive Answer = iota
	Yes
	No
)

// String returns "yes", "no" or "inconclusive".
func (a Answer) String() string {
	switch a {
	case Inconclusive:
		return "inconclusive"
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return fmt.Sprintf("answer(%d)", uint8(a))
}

// Result is an answer and what it is based on.
type Result struct {
	Answer Answer
	Reason string // why it is No or Inconclusive, and what would help; "" with Yes
}

// String returns the answer, followed by the reason if there is one.
func (r Result) String() string {
	if r.Reason == "" {
		return r.Answer.String()
	}
	return r.Answer.String() + ": " + r.Reason
}

// Error is what [Feature.Need] returns. It matches errors.ErrUnsupported if
// the answer is No.
type Error struct {
	Feature string
	Result  Result
}

func (e *Error) Error() string {
	if e.Result.Answer == No {
		return fmt.Sprintf("features: no %s: %s", e.Feature, e.Result.Reason)
	}
	return fmt.Sprintf("features: cannot tell whether there is %s: %s", e.Feature, e.Result.Reason)
}

// Is makes a No match errors.ErrUnsupported.
func (e *Error) Is(target error) bool {
	return target == errors.ErrUnsupported && e.Result.Answer == No
}

// Feature is something that a kernel may have.
type Feature struct {
	Name string // what it is: "BPF ring buffer"
	Use  string // what it is good for

	probe func() Result

	mu    sync.Mutex // guards known; held while probing, so that one probe runs at a time
	known Result     // conclusive, or zero
}

// Probe returns whether the running kernel has the feature. A conclusive
// answer is kept and returned from then on; else every call tries again.
func (f *Feature) Probe() Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known.Answer != Inconclusive {
		return f.known
	}
	r := f.probe()
	if r.Answer != Inconclusive {
		f.known = r
	}
	return r
}

// Need returns nil if the answer is Yes, and else an *[Error].
func (f *Feature) Need() error {
	if r := f.Probe(); r.Answer != Yes {
		return &Error{f.Name, r}
	}
	return nil
}

var yes = Result{Answer: Yes}

func no(format string, args ...any) Result {
	return Result{No, fmt.Sprintf(format, args...)}
}

func unclear(format string, args ...any) Result {
	return Result{Inconclusive, fmt.Sprintf(format, args...)}
}
