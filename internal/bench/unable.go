package bench

import (
	"errors"
	"os/exec"
	"strings"
)

// unable says that a watcher cannot be measured on this machine, and why.
type unable struct{ why string }

func (e *unable) Error() string { return e.why }

// cannot returns why there is nothing to measure, if that is what err says.
func cannot(err error) (why string, ok bool) {
	var e *unable
	if !errors.As(err, &e) {
		return "", false
	}
	return e.why, true
}

// path returns where the watcher's tool is.
func (w *Watcher) path() (string, error) {
	path, err := exec.LookPath(w.tool)
	if err != nil {
		return "", &unable{w.tool + " is not installed"}
	}
	return path, nil
}

// ended is the error of a tool that has ended before it told of anything.
func (w *Watcher) ended(said string) error {
	return &unable{w.tool + " does not run here: " + strings.Join(strings.Fields(said), " ")}
}
