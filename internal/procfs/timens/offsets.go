// Package timens reads how the clocks of this process differ from the machine's. It
// is apart from package procfs so that package sys can import it.
package timens

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// Offsets are by how much the clocks of a time namespace are ahead of the
// machine's (time_namespaces(7)), in nanoseconds.
type Offsets struct{ Monotonic, Boot int64 }

// Own returns those of this process. They cannot change once it runs.
var Own = sync.OnceValue(func() Offsets {
	text, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil {
		return Offsets{} // before Linux 5.6 there are none
	}
	return parse(string(text))
})

func parse(text string) (o Offsets) {
	for line := range strings.Lines(text) {
		var name string
		var s, ns int64
		if _, err := fmt.Sscan(line, &name, &s, &ns); err != nil {
			continue
		}
		switch name {
		case "monotonic":
			o.Monotonic = s*1e9 + ns
		case "boottime":
			o.Boot = s*1e9 + ns
		}
	}
	return o
}
