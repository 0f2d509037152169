// Package daemon is 'taskwatch serve' as a library: it owns a source of events
// and the modules of a machine, of both kinds, and serves the interface of
// package api on a Unix socket.
//
// [New] opens everything, [Daemon.Run] serves until its context ends. When Run
// has returned, every module is unregistered, nothing of it is left in the
// kernel, and the socket is gone.
//
// The source is whichever [Config.Open] opens. Kernel modules need the source
// bpf; with another source the daemon rejects them, and says why there is no
// bpf.
//
// # Access
//
// The kernel names the user at the other end of a Unix socket, and the daemon
// checks each request against that: see [Config.Group]. The mode of the socket
// already keeps other users from connecting.
//
// # Locking
//
// The list of modules has a mutex that is held only briefly. A module that is
// being loaded or unloaded is marked in the list, so a second request for the
// same name is rejected, and requests for other modules do not wait. The set of
// streams has a mutex, and each stream one of its own, taken in this order; the
// goroutine of the source takes both, and waits for no client.
package daemon
