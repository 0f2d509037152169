// Package ui is 'taskwatch ui' as a library: pages for a browser of the same
// machine, which show a recording or what a daemon sees, served by a process of
// the user's own.
//
// # Access
//
// The process has the rights of its user. Requests of a page to the daemon come
// from that user, and the daemon decides. So a [Server] answers only browsers
// that its user has admitted. [Server.Link] makes a link with a token, which
// works once and becomes a cookie. Requests of other pages are rejected: the
// host must be the loopback interface by name or number, so that no foreign name
// can lead here, and the origin must be the page itself. A strict Content
// Security Policy allows nothing from elsewhere.
//
// # Memory
//
// The reading of a recording waits for slow browsers, so each stream needs one
// batch of lines and the timeline's live processes. The latest lines of a daemon
// are kept once for all browsers, in [History] bytes. A browser that falls
// behind loses the oldest ones and gets a loss in their place. The numbers of
// streams and connections are limited, and a stream that is not read is closed.
//
// # Concurrency
//
// A server may be used from any goroutine. Each stream runs in the goroutine of
// its request; another goroutine reads from the daemon.
package ui
