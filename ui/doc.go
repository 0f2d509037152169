// Package ui is 'taskwatch ui' as a library: pages for a browser of the same
// machine, which show a recording or what a daemon sees, served by a process of
// the user's own.
//
// # Access
//
// The process has the rights of its user and passes on nobody else's: what a
// page asks of the daemon comes from that user, and the daemon decides. So a
// [Server] answers only to browsers that its user has let in. [Server.Link]
// makes a link with a token that works once and becomes a cookie. Requests of
// other pages are rejected: the host has to be the loopback interface by name
// or number, so that no name of others leads here; and the origin has to be the
// page itself. A strict Content Security Policy lets nothing in from elsewhere.
//
// # Memory
//
// A recording waits for a browser that reads slowly, so each stream has one
// batch of lines in memory, and what the timeline keeps for live processes. Of
// a daemon, what was last seen is kept once for all browsers, in [History]
// bytes; a browser that falls behind loses the oldest, and is told. The numbers
// of streams and of connections are bounded, and a stream that nobody reads is
// given up.
//
// # Concurrency
//
// A server may be used from any goroutine. Each stream has a goroutine of its
// own, that of its request; what comes from the daemon has another one.
package ui
