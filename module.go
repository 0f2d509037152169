package taskwatch

// Module is a named set of watchers that can be registered and unregistered
// at run time. Fill it with Watch, then hand its address to
// [Registry.Register]; the address is its identity.
type Module struct {
	// Name appears in errors and listings, and is unique in a registry.
	Name string

	// OnUnregister, if set, is called by Unregister when no watcher of the
	// module is running any more and none will be. A module whose watchers pass
	// events on waits here until these have been handled.
	OnUnregister func()

	watches [NumLists][]watch
}

// watch is a watcher with what it declares.
type watch struct {
	fn       Watcher
	observes bool
	reads    Fields
}

func newWatch(fn Watcher, options []WatchOption) watch {
	w := watch{fn: fn, reads: DefaultFields}
	for _, o := range options {
		o(&w)
	}
	return w
}

// Watch adds a watcher on k, after those that the module already has. Without
// options the watcher may deny if that is possible, and reads every field
// except the optional ones. If something is wrong with it, Register returns the
// error. Watch must not be called while the module is registered.
//
// With k [Attach] or [Detach], fn is called for tasks at no event of theirs. Such
// a module knows a task from one call of attach or init on, of which each task
// meets exactly one, until one of free or detach. No other watcher of the module
// is called for a task that it does not know. A source that has no init has each
// task attached, and one that has no free has it detached when it is gone. The
// calls of attach for the tasks that the source knows have been made when
// [Registry.Register] returns, and those of detach when Unregister does. A task
// whose next event comes first is attached right before that: the event of
// attach then has its Seq, and else 0. Errors deny nothing.
//
// A module that watches Attach or Detach has the source gather init, clone and
// free.
func (m *Module) Watch(k Kind, fn Watcher, options ...WatchOption) {
	w := newWatch(fn, options)
	if k >= NumLists {
		k, w.fn = 0, nil // for Register to find
	}
	m.watches[k] = append(m.watches[k], w)
}

// Kinds returns the kinds that the module has watchers on.
func (m *Module) Kinds() (s Kinds) {
	for k, list := range m.watches[:NumKinds] {
		if len(list) > 0 {
			s |= 1 << k
		}
	}
	return s
}

// follows reports whether the module has a list that is of no kind.
func (m *Module) follows() bool { return len(m.watches[Attach])+len(m.watches[Detach]) > 0 }

// WatchOption is something that a watcher declares.
type WatchOption func(*watch)

// Observe declares that the watcher never denies. With a source that can deny,
// the decision about Exec, UID and GID comes before the operation. A watcher
// that observes is called after the operation has succeeded, others before it
// is tried. So it sees exactly what happened, and costs a synchronous source
// less. Its error is reported and denies nothing.
func Observe() WatchOption { return func(w *watch) { w.observes = true } }

// Reads declares which fields of the event the watcher reads. A source need not
// gather fields that nobody reads; they are then in [Event.Missing].
func Reads(fields Fields) WatchOption { return func(w *watch) { w.reads = fields } }

// ModuleInfo describes a registered module.
type ModuleInfo struct {
	Name       string
	Kinds      Kinds  // the events it is listed under
	References int    // one per such event
	Errors     uint64 // errors its watchers returned
	Panics     uint64 // crashes of its watchers; not counted in Errors
}
