package timens

import "testing"

// The kernel writes each clock in seconds and nanoseconds, of which only the seconds
// are negative.
func TestParse(t *testing.T) {
	for text, want := range map[string]Offsets{
		"monotonic           0         0\nboottime            0         0\n": {},
		"monotonic      864000         0\nboottime       -3600  500000000\n": {864000e9, -3600e9 + 500000000},
		"boottime            1         2\nanother             3         4\n": {Boot: 1e9 + 2},
		"monotonic\n\nmonotonic           7         8":                       {Monotonic: 7e9 + 8},
		"": {},
	} {
		if got := parse(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}
