package bpf

import "time"

// WaitForFrees has the end of a tree wait that long for frees, until restore is
// called: a busy machine may be slow to free what has ended.
func WaitForFrees(d time.Duration) (restore func()) {
	usual := freeWait
	freeWait = int64(d)
	return func() { freeWait = usual }
}

// WatchLives has the module lifecheck judge the order of all events.
var WatchLives = watchLives
