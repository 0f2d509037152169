package gobench

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Figures are what the runs of one benchmark have shown.
type Figures struct {
	NS     []float64 // of an operation, by run
	Allocs int64     // of an operation, in the run with the fewest: no other goroutine's
}

// Results are the figures of benchmarks by name, without the number of processors.
// The zero value is empty; make it before Add is called.
type Results map[string]*Figures

// Add adds what a test binary has printed, which ran with -test.benchmem. A
// benchmark may be in it several times. The package's name precedes the
// benchmark's.
func (r Results) Add(pkg string, output []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		ns, allocs, err := figures(f[2:])
		if err != nil {
			return fmt.Errorf("the benchmarks of %s: %q: %w", pkg, lines.Text(), err)
		}
		name := f[0]
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		name = pkg + " " + strings.TrimPrefix(name, "Benchmark")
		if g := r[name]; g == nil {
			r[name] = &Figures{NS: []float64{ns}, Allocs: allocs}
		} else {
			g.NS, g.Allocs = append(g.NS, ns), min(g.Allocs, allocs)
		}
	}
	return lines.Err()
}

// figures reads pairs of a number and its unit.
func figures(f []string) (ns float64, allocs int64, err error) {
	found := 0
	for i := 0; i+1 < len(f); i += 2 {
		switch f[i+1] {
		case "ns/op":
			ns, err = strconv.ParseFloat(f[i], 64)
		case "allocs/op":
			allocs, err = strconv.ParseInt(f[i], 10, 64)
		default:
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		found++
	}
	if found != 2 {
		return 0, 0, fmt.Errorf("it has no ns/op and allocs/op")
	}
	return ns, allocs, nil
}
