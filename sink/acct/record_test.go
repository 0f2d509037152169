package acct

import (
	"math"
	"testing"
)

// expand is the inverse of compress.
func expand(n uint16) uint64 { return uint64(n&0x1fff) << (3 * (n >> 13)) }

func TestCompress(t *testing.T) {
	for _, c := range []struct {
		n    uint64
		want uint16
	}{
		{0, 0}, {1, 1}, {8191, 8191}, {8192, 0x2000 + 1024}, {8195, 0x2000 + 1024}, {8196, 0x2000 + 1025},
		{8191*8 + 3, 0x2000 + 8191}, {8191*8 + 4, 0x4000 + 1024}, {8191 << 21, 0xffff}, {math.MaxUint64, math.MaxUint16},
	} {
		if got := compress(c.n); got != c.want {
			t.Errorf("%d is %#x, want %#x", c.n, got, c.want)
		}
	}
	for n := uint64(1); n < 8191<<21; n += n/97 + 1 {
		if got := expand(compress(n)); math.Abs(float64(got)-float64(n)) > float64(n)/2048 {
			t.Fatalf("%d comes back as %d", n, got)
		}
	}
}

func TestDevice(t *testing.T) {
	for tty, want := range map[string]uint16{
		"": 0, "pts/0": 136 << 8, "pts/255": 136<<8 | 255, "pts/256": 137 << 8, "pts/2047": 143<<8 | 255, "pts/2048": 0,
		"tty1": 4<<8 | 1, "ttyS0": 4<<8 | 64, "ttyAMA0": 204<<8 | 64, "hvc0": 229 << 8, "tty": 0, "pts/x": 0, "tty300": 0,
	} {
		if got := device(tty); got != want {
			t.Errorf("%q is %#x, want %#x", tty, got, want)
		}
	}
}
