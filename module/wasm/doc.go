// Package wasm runs modules in a sandbox: WebAssembly modules whose exported
// functions are the watchers, on any source, in this process, and without the
// power to hurt it.
//
// A file is parsed into an [Object], an object is loaded into a [Module], and
// [Module.Watchers] makes a taskwatch.Module of that, to be registered like
// any other. The table of functions that host and module share is ABI 1,
// described in docs/sandbox.md.
//
// # What a module may not do
//
//   - Stay: every call has a deadline, which is compiled into the module's own
//     code (see package rewrite); a module past it is stopped where it is.
//   - Grow: its memory is capped, its tables cannot grow at all.
//   - Hold up others: its events wait in a bounded queue of its own, and are
//     called for on a goroutine of its own. Only an event that the module may
//     veto, on a source that can deliver a veto, is called for in place.
//   - Flood: what it emits and logs is bounded per call and per second.
//   - Reach out: it has no files, arguments, environment, or network.
//
// What is lost by that is counted in [Stats]. A module that has crashed gets a
// fresh instance, with its parameters and without its memory; one that crashes
// again and again is quarantined.
//
// # Locks
//
// Module.mu is held for the length of a call and guards the instance;
// ring.mu guards a ring and the queues in it, and is taken inside of Module.mu and of
// rings.mu. Callbacks to the host (Log) are made with Module.mu held: they must not call
// back into the module, but for Stats, which takes no lock that is held for long.
package wasm
