package bpf

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/taskwatch/taskwatch/source"
)

// The usual values of Config.
const (
	DefaultLatency    = 10 * time.Millisecond
	DefaultBufferSize = 8 << 20
)

// EveryEvent is a Latency that has the reader read each event at once. It costs the
// task that causes the event 15 to 25 µs to wake the reader. While events come fast, the
// reader stays awake instead, for up to four fifths of the time of a processor.
const EveryEvent time.Duration = -1 << 63

// minBufferSize has room for the longest record (struct scratch of
// c/scratch.h).
const minBufferSize = 64 << 10

// Config says what to watch. The zero value watches the machine.
type Config struct {
	// At most one of these narrows the scope.
	//
	// Cgroup is the directory of a cgroup in the unified hierarchy. The source
	// watches the tasks of this cgroup and of those below it. It watches a task
	// that it has seen there to its end, wherever the task moves. If a cgroup
	// is created again under this path, the source watches the new one.
	//
	// PID is a running process, or a thread of it: the process and its
	// descendants. Run returns when all of them have ended.
	Cgroup  string
	PID     int
	Command *source.Command // to be started by Run: it, from its exec on, and its descendants; no task waits for its OnStop

	// Narrow has the kernel side leave out tasks that nobody wants, as far as all
	// sinks agree: see [taskwatch.Only]. It follows what sinks want, and takes all
	// while the table has modules. It needs the scope of the machine. If two
	// threads of a process have different user ids and end at the same moment,
	// both exits may say that they ended the process.
	Narrow bool

	// FieldsSettled says that the optional fields that somebody reads when Run
	// begins are all that anybody will read, and that nothing is registered with
	// Source.Table before. If there are none, the programs load faster: they leave
	// out what gathers these fields, which are missing then.
	FieldsSettled bool

	// Latency limits how long an event may wait in the buffer so that many can
	// be read at once; 0 means DefaultLatency. With EveryEvent no event waits.
	Latency time.Duration

	// BufferSize is the size of the ring buffer in bytes, a power of two of at
	// least 64 KiB; 0 stands for DefaultBufferSize. When it is full, new events
	// are lost, and the loss is reported in their place. A task from its birth
	// to its free takes 416 bytes, or 552 if init has its own hook. An exec
	// takes about 200 bytes plus its arguments, and a working directory about
	// 150 when it is told first. So 8 MiB have room for 15,000 tasks between two
	// reads.
	BufferSize int

	// DryRun makes the table in the kernel deny nothing: see Source.Table.
	DryRun bool

	// CallStats makes the table in the kernel count and time the calls of
	// watchers.
	CallStats bool

	// OnReady, if set, is called once by the goroutine of Run when watching
	// has begun: every event from then on is seen.
	OnReady func()

	// OnNotice, if set, is called by the same goroutine with what a user should
	// know: that Cgroup was removed, or made again.
	OnNotice func(string)

	// OnShortage, if set, is called by the same goroutine when the hooks of
	// watched events cannot be attached; all other events come.
	OnShortage func(*source.Shortage)
}

func (cfg *Config) check() error {
	scopes := 0
	for _, set := range []bool{cfg.Cgroup != "", cfg.PID != 0, cfg.Command != nil} {
		if set {
			scopes++
		}
	}
	if scopes > 1 {
		return errors.New("bpf: Config.Cgroup, PID and Command exclude each other; set one of them")
	}
	if scopes > 0 && cfg.Narrow {
		return errors.New("bpf: Config.Narrow works only with the scope of the machine; leave Cgroup, PID and Command out")
	}
	if cfg.PID < 0 {
		return fmt.Errorf("bpf: Config.PID is %d, which is not a pid", cfg.PID)
	}
	if cfg.Latency < 0 && cfg.Latency != EveryEvent {
		return fmt.Errorf("bpf: Config.Latency is %v; it cannot be negative", cfg.Latency)
	}
	if cfg.Latency == 0 {
		cfg.Latency = DefaultLatency
	}
	if cfg.BufferSize == 0 {
		cfg.BufferSize = DefaultBufferSize
	}
	if n := cfg.BufferSize; n < minBufferSize || bits.OnesCount(uint(n)) != 1 || n > 1<<30 {
		return fmt.Errorf("bpf: Config.BufferSize is %d; it must be a power of two from %d to %d", n, minBufferSize, 1<<30)
	}
	return nil
}

func (cfg *Config) scope() uint32 {
	switch {
	case cfg.Cgroup != "":
		return scopeCgroup
	case cfg.PID != 0, cfg.Command != nil:
		return scopeTree
	case cfg.Narrow:
		return scopeChosen
	}
	return scopeMachine
}

func (cfg *Config) scopeText() string {
	switch {
	case cfg.Cgroup != "":
		return "the tasks of one cgroup and of those below it"
	case cfg.PID != 0:
		return "one process and its descendants"
	case cfg.Command != nil:
		return "one command and its descendants"
	}
	return "the machine"
}
