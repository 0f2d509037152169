// Package taskwatch calls functions when a Linux task is initialised, cloned,
// runs a program, changes a user or group id, exits, or is freed.
//
// A [Watcher] is a function called on one [Kind] of event. A [Module] holds
// watchers under one name; it can be registered with a [Registry] and
// unregistered again while events arrive. [Builtin] adds watchers that are
// compiled in; every registry calls them before any module.
//
// Events come from a source (the packages below source/): a source decides what
// it can deliver, fills in an [Event] and calls [Feed.Notify]. Some sources can
// make an operation fail; with these, the error of a watcher on [Init], [Exec],
// [UID] or [GID] denies it.
//
// Everything that is reported is an [Item]: an event, a loss, the failure of a
// watcher, or a record that a module has sent. A [Sink] gets all items in one
// order.
//
// This package imports only the standard library and makes no system calls: it
// works without privileges and on every kernel.
package taskwatch
