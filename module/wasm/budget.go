package wasm

import (
	"time"

	"github.com/taskwatch/taskwatch/module"
)

// What a module may say.
const (
	maxEmit = 64 << 10 // bytes of a record
	maxLog  = module.MaxLogLine
)

var (
	emitsPerCall   = budget{64, 256 << 10}
	emitsPerSecond = budget{10_000, 4 << 20}
	logsPerCall    = budget{32, 32 << 10}
	logsPerSecond  = budget{module.LogsPerSecond, module.LogsPerSecond << 10}
)

// budget is what may be said until it is renewed.
type budget struct {
	records, bytes int
}

// take takes one record of n bytes, if there is room for it.
func (b *budget) take(n int) bool {
	if b.records < 1 || b.bytes < n {
		return false
	}
	b.records--
	b.bytes -= n
	return true
}

// allowance is what may be said by one module, in its own words or by its
// standard output.
type allowance struct {
	perCall, perSecond budget // in full
	unlimited          bool   // per second

	call, second budget // what is left
	since        time.Time
}

// begin renews what may be said in a call.
func (a *allowance) begin() { a.call = a.perCall }

func (a *allowance) take(n int) bool {
	if !a.unlimited {
		if now := time.Now(); now.Sub(a.since) >= time.Second {
			a.second, a.since = a.perSecond, now
		}
		if !a.second.take(n) {
			return false
		}
	}
	return a.call.take(n)
}
