package connector

import (
	"testing"

	"github.com/taskwatch/taskwatch/internal/cnproc"
)

func TestGaps(t *testing.T) {
	g := gaps{map[uint32]uint32{}}
	for i, tt := range []struct {
		cpu, seq uint32
		want     uint64
	}{
		{0, 10, 0}, // where counting begins is not known
		{0, 11, 0},
		{1, 500, 0}, // CPUs count apart
		{0, 15, 3},
		{1, 501, 0},
		{noCPU, 7, 0},
		{0, 16, 0},
		{2, 0xffffffff, 0},
		{2, 0, 0}, // wraps around
		{1, 1, 0xffffffff - 501 + 1},
	} {
		if got := g.check(&cnproc.Record{CPU: tt.cpu, Seq: tt.seq}); got != tt.want {
			t.Errorf("%d: number %d of CPU %d: %d lost, want %d", i, tt.seq, tt.cpu, got, tt.want)
		}
	}
}
