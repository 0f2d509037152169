package export

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/sink/folded"
)

// The weights add up to what the recording says.
func TestFolded(t *testing.T) {
	tr := truthOf(t)
	for _, c := range []struct {
		name   string
		weight folded.Weight
		want   int64 // ns
	}{{"cpu", folded.CPU, tr.cpuNS}, {"wall", folded.Wall, tr.workNS}} {
		var out bytes.Buffer
		export(t, folded.New(&out, c.weight))
		var sum int64
		compiler := false
		for l := range strings.Lines(out.String()) {
			stack, n, ok := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
			v, err := strconv.ParseInt(n, 10, 64)
			if !ok || err != nil || !strings.HasPrefix(stack, "make") {
				t.Errorf("%s: line %q: %v", c.name, l, err)
			}
			sum += v
			compiler = compiler || strings.HasSuffix(stack, ";cc1")
		}
		if lines := int64(strings.Count(out.String(), "\n")); sum > c.want/1000 || sum < c.want/1000-lines || !compiler {
			t.Errorf("%s: the lines add up to %d, want %d within %d; a compiler's line is there: %v\n%s", c.name, sum, c.want/1000, lines, compiler, out.String())
		}
	}
}
