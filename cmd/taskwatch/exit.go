package main

// Exit statuses that are taskwatch's own. Those of run are what the shell
// and env(1) use, so that they hardly collide with those of the command.
const (
	exitFailed    = 1   // something failed
	exitUsage     = 2   // the command line is wrong
	exitRunFailed = 125 // either of them, in run
	exitSignal    = 128 // plus the signal
)

// exitError ends taskwatch with a status.
type exitError struct {
	status int
	err    error // nil if there is nothing to say
	usage  bool  // the help would help
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "exit"
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage returns the error of a wrong command line.
func usage(err error) *exitError { return &exitError{status: exitUsage, err: err, usage: true} }

// ended returns what ends taskwatch with a status and without a word.
func ended(status int) error {
	if status == 0 {
		return nil
	}
	return &exitError{status: status}
}
