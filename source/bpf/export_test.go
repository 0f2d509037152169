package bpf

import "time"

// WaitForFrees has the end of a tree wait that long for frees: orphans are
// reaped by the machine's first process, which may have other work.
func WaitForFrees(d time.Duration) { freeWait = int64(d) }
