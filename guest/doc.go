// Package guest is what modules in Go are written against: modules that
// taskwatch runs in its sandbox.
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
// The events are init, clone, exec, uid, gid, exit and free. A watcher returns
// 0, or an error number from this package, which are negative: it is reported
// and, where the module asked for a veto ([Info]) and the source can deliver
// one, refuses the operation. A watcher that panics is reported too and
// refuses nothing; the module then starts anew, with its variables as they
// were at first.
//
// The host calls one watcher at a time, so that nothing needs a lock.
// Goroutines run only while a watcher does. A call has a deadline (100 ms) and
// the module a limit of memory (16 MiB), both settable when it is loaded. There
// are no files, no network and no environment; what is printed goes to the log
// of the host. Global variables live as long as the module.
//
// On other systems the package builds too, so that watchers can be tested with
// 'go test': see the package guesttest.
package guest
