package taskwatch

// Module is a named table of watchers that can be registered and unregistered
// at run time. Fill it in, then hand its address to [Registry.Register]; the
// address is its identity. It must not be changed while it is registered.
type Module struct {
	// Name appears in errors and listings, and is unique in a registry.
	Name string

	// Table holds the watchers. It may be empty when OnLost or OnError is
	// set.
	Table Table

	// Observer says that the watchers never veto. Where the decision about
	// an operation and its success are two moments (Exec, UID and GID on a
	// source that can veto), watchers of an observer are called once it has
	// succeeded and others before it is tried; so an observer sees exactly
	// what happened, and costs a synchronous source less. The error of an
	// observer is reported and refuses nothing.
	Observer bool

	// Observes is the same for these kinds only.
	Observes Kinds

	// Ignores are fields that the watchers never read. A source need not
	// gather what every module ignores; it is then in [Event.Missing].
	Ignores Fields

	// OnUnregister, if set, is called by Unregister when no watcher of the
	// module is running any more and none will be. A module whose watchers
	// hand events on waits here until these are dealt with.
	OnUnregister func()

	// OnLost, if set, is called where a source lost events.
	OnLost func(Loss)

	// OnError, if set, is called with every error of any module's or
	// built-in's watcher, in the middle of the delivery: before the watchers
	// that stand behind the failed one. The error may be kept, its Event may
	// not.
	OnError func(*WatcherError)
}

// ModuleInfo describes a registered module.
type ModuleInfo struct {
	Name       string
	Kinds      Kinds  // the events it is listed under
	References int    // one per such event
	Errors     uint64 // errors its watchers returned
	Panics     uint64 // crashes of its watchers and hooks, by panic or runtime.Goexit; not counted in Errors
}
