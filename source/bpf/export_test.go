package bpf

import "time"

// WaitForFrees has the end of a tree wait that long for frees, until restore is
// called: orphans are reaped by the machine's first process, which may look
// only every other second.
func WaitForFrees(d time.Duration) (restore func()) {
	usual := freeWait
	freeWait = int64(d)
	return func() { freeWait = usual }
}

// WatchLives has the module lifecheck judge the order of all events.
var WatchLives = watchLives
