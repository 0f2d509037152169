// Package guest is the API for modules in Go, which taskwatch runs in its
// sandbox.
//
// A module is a program whose main does nothing. Its watchers are exported
// under names that say the event, __task_watcher_EVENT_NAME:
//
//	package main
//
//	import "github.com/taskwatch/taskwatch/guest"
//
//	var (
//		least = guest.Uint64("least", 2, "count programs with at least so many arguments")
//		execs = guest.Counter("execs", "those counted")
//	)
//
//	//go:wasmexport __task_watcher_exec_count
//	func count(val uint64, t *guest.Task) int32 {
//		if uint64(t.Argc()) >= *least {
//			*execs++
//		}
//		return 0
//	}
//
//	func main() {}
//
// It is built by the standard toolchain, or by 'taskwatch module build', which
// does the same:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o count.wasm
//
// The events are init, clone, exec, uid, gid, exit and free. Under attach and
// detach, which are no events, a function is called once for each task that exists
// when the module is loaded and unloaded; under execed, after each exec that has
// succeeded, also if the module decides execs. A watcher returns 0, or one of the
// error numbers of this package, which are negative. An error is reported. If the
// module asks for a veto ([Info]) and the source can deny, it also denies the
// operation. A watcher that panics is reported too, and denies nothing; the module
// then restarts, with the initial values of its variables.
//
// The host calls one watcher at a time, so nothing needs a lock. Goroutines run
// only while a watcher runs. A call has a deadline (100 ms) and the module a
// limit of memory (16 MiB); both can be set when it is loaded. There are no
// files, no network and no environment. Printed text goes to the log of the
// host. Global variables live as long as the module.
//
// On other systems the package builds too, so that watchers can be tested with
// 'go test': see the package guesttest.
package guest
