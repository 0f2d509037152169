package wasm

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
)

// What a module may use where [LoadOptions] does not say.
const (
	DefaultDeadline = 100 * time.Millisecond
	DefaultMemory   = 16 << 20 // bytes
	DefaultQueue    = 1 << 18  // events: four times what the buffer of the source bpf holds

	// DefaultVetoQueue is the queue of a module that may deny operations, in events. It
	// is called for what waits before it decides, and both has to be done by the deadline.
	DefaultVetoQueue = 1 << 12
)

// The bounds of what may be set.
const (
	minDeadline = time.Millisecond
	maxDeadline = time.Minute
	minMemory   = pageSize
	maxMemory   = 256 << 20
	maxQueue    = 1 << 20

	pageSize = 64 << 10
)

// startDeadline is how long a module may take to initialise itself, at least:
// the runtime of a language starts there, perhaps on a busy machine.
var startDeadline = 10 * time.Second

// OnError says what happens to an operation that the module could have denied,
// if the module crashed instead.
type OnError uint8

const (
	FailOpen OnError = iota // the operation goes on
	Deny                    // it is denied, with EACCES
)

// LoadOptions are the choices of [Object.Load]. The zero value is ready for
// use.
type LoadOptions struct {
	// Params holds module parameters by name. The names deadline (100ms),
	// memory (16M), queue (262144, or 4096 if the module may deny operations) and
	// onerror (open or deny) belong to the sandbox: they set the fields below and
	// override them.
	Params map[string]string

	Deadline time.Duration // of one call; 0 stands for DefaultDeadline
	Memory   int64         // bytes, rounded up to 64 KiB; 0 stands for DefaultMemory
	Queue    int           // events that may wait; 0 stands for DefaultQueue or DefaultVetoQueue
	OnError  OnError

	// Synchronous makes the goroutine that notifies call every watcher in
	// place; nothing is queued, dropped or limited per second. It is for
	// recordings, which can wait.
	Synchronous bool

	// Absent holds the events that the source does not deliver. Without clone or exec
	// the programs of parents are not known.
	Absent taskwatch.Kinds

	// Tasks, if set, calls fn with each task that the source knows: see
	// [taskwatch.Registry.Tasks]. Without it, no task has entries in the module's maps.
	Tasks func(fn func(*taskwatch.Task))

	// Log, if set, gets what the module logs and prints, and messages about it.
	Log func(level slog.Level, text string)

	// Feed, if set, gets the records that the module sends, and the errors and
	// crashes of watchers that were not called in place, which no registry can
	// report.
	Feed *taskwatch.Feed
}

// options are the names of parameters that belong to the sandbox.
var options = map[string]func(o *LoadOptions, text string) error{
	"deadline": func(o *LoadOptions, text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return fmt.Errorf("want a time like 100ms")
		}
		o.Deadline = d
		return nil
	},
	"memory": func(o *LoadOptions, text string) (err error) {
		o.Memory, err = parseSize(text)
		return err
	},
	"queue": func(o *LoadOptions, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("want a number of events")
		}
		o.Queue = n
		return nil
	},
	"onerror": func(o *LoadOptions, text string) error {
		switch text {
		case "open":
			o.OnError = FailOpen
		case "deny":
			o.OnError = Deny
		default:
			return fmt.Errorf("want open or deny")
		}
		return nil
	},
}

// reserved reports whether a name of a parameter belongs to the sandbox.
func reserved(name string) bool { return options[name] != nil }

// parseSize reads bytes, also with K or M.
func parseSize(text string) (int64, error) {
	digits, unit := text, int64(1)
	if i := strings.IndexAny(text, "KM"); i >= 0 && i == len(text)-1 {
		digits, unit = text[:i], map[byte]int64{'K': 1 << 10, 'M': 1 << 20}[text[i]]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > maxMemory {
		return 0, fmt.Errorf("want a number of bytes like 16M, at most 256M")
	}
	return n * unit, nil
}

// resolve takes the sandbox's own names out of the parameters, and fills in
// what is not given. veto says that the module may deny operations.
func (opts LoadOptions) resolve(veto bool) (LoadOptions, error) {
	opts.Params = maps.Clone(opts.Params)
	for _, name := range slices.Sorted(maps.Keys(options)) {
		text, ok := opts.Params[name]
		if !ok {
			continue
		}
		if err := options[name](&opts, text); err != nil {
			return opts, invalid("%s=%s: %w", name, text, err)
		}
		delete(opts.Params, name)
	}
	if opts.Deadline == 0 {
		opts.Deadline = DefaultDeadline
	}
	if opts.Memory == 0 {
		opts.Memory = DefaultMemory
	}
	if opts.Queue == 0 {
		opts.Queue = DefaultQueue
		if veto {
			opts.Queue = DefaultVetoQueue
		}
	}
	switch {
	case opts.Deadline < minDeadline || opts.Deadline > maxDeadline:
		return opts, invalid("a deadline of %v: it may be %v to %v", opts.Deadline, minDeadline, maxDeadline)
	case opts.Memory < minMemory || opts.Memory > maxMemory:
		return opts, invalid("a memory of %d bytes: it may be %d to %d", opts.Memory, minMemory, maxMemory)
	case opts.Queue < 1 || opts.Queue > maxQueue:
		return opts, invalid("a queue of %d events: it may be 1 to %d", opts.Queue, maxQueue)
	case opts.OnError > Deny:
		return opts, invalid("an OnError of %d is unknown", opts.OnError)
	}
	return opts, nil
}

// CheckParams returns the error that Load returns for parameters that the module does
// not have, or cannot have.
func (o *Object) CheckParams(values map[string]string) error {
	_, err := o.encodeParams(values)
	return err
}

// encodeParams checks the values of parameters, and returns their bytes by
// the address of the parameter.
func (o *Object) encodeParams(values map[string]string) (map[uint32][]byte, error) {
	encoded := map[uint32][]byte{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := o.param(name)
		if slices.ContainsFunc(o.storages, func(s storage) bool { return v == nil && s.Name == name }) {
			return nil, invalid("%s=%s: it is a map, which begins empty: first entries are for modules in the kernel. Set values of tasks that exist with 'taskwatch map %s %s set'",
				name, values[name], o.Name, name)
		}
		if v == nil || o.param(strings.TrimSuffix(name, module.CountOf(""))).counts(name) {
			return nil, invalid("it has no parameter %q; %s", name, module.DescribeParams(o.Params()))
		}
		b, n, err := v.encode(values[name])
		if err != nil {
			return nil, invalid("parameter %s=%s: it is of type %s: %w; %s", name, values[name], v.typeName(), err, module.DescribeParams(o.Params()))
		}
		encoded[v.address] = b
		if count := o.param(module.CountOf(name)); n >= 0 && count != nil && !count.isList() {
			if encoded[count.address], _, err = count.encode(strconv.Itoa(n)); err != nil {
				return nil, invalid("parameter %s: its count is of type %s: %w", name, count.typeName(), err)
			}
		}
	}
	return encoded, nil
}

// param returns the parameter of that name, or nil.
func (o *Object) param(name string) *variable {
	i := slices.IndexFunc(o.vars, func(v variable) bool { return v.param && v.name == name })
	if i < 0 {
		return nil
	}
	return &o.vars[i]
}

// counts reports whether v is a list, and name that of its count.
func (v *variable) counts(name string) bool {
	return v != nil && v.isList() && name == module.CountOf(v.name)
}
