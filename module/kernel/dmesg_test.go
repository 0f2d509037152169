package kernel

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// faults are what the kernel says when it has found a fault of its own. Stalls
// and lockups are left out: an emulated processor may wait for a real one.
var faults = []string{"WARNING: ", "BUG: ", "Oops", "cut here", "refcount_t: ", "possible recursive locking", "Call Trace"}

// quietKernel fails the test if the kernel complains until the test ends. On a
// machine that is not the test's own, it may complain of others: there nothing
// is looked at.
func quietKernel(t *testing.T) {
	t.Helper()
	if os.Getenv("TASKWATCH_VM") == "" {
		return
	}
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer unix.Close(fd)
		buf := make([]byte, 8192) // one message a read
		slow := false             // what follows shows where a processor that is late is
		for {
			n, err := unix.Read(fd, buf)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return
			case errors.Is(err, unix.EPIPE):
				continue // some were overwritten
			case err != nil:
				t.Error(err)
				return
			}
			level, text := parseKmsg(string(buf[:n]))
			late := strings.Contains(text, "soft lockup") || strings.Contains(text, "stall")
			slow = slow || late
			if !late && !(slow && strings.HasPrefix(strings.TrimSpace(text), "Call Trace")) && (level < 3 || slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(text, f) })) {
				t.Errorf("the kernel says: %s", text)
			}
		}
	})
}

// parseKmsg takes a message of /dev/kmsg apart: "level,sequence,time,flags;text".
func parseKmsg(m string) (level int, text string) {
	head, text, _ := strings.Cut(m, ";")
	text, _, _ = strings.Cut(text, "\n")
	first, _, _ := strings.Cut(head, ",")
	n, err := strconv.Atoi(first)
	if err != nil {
		return 7, text
	}
	return n & 7, text // the facility is above
}

func TestParseKmsg(t *testing.T) {
	for m, want := range map[string]string{
		"4,1,20,-;WARNING: CPU: 0\n SUBSYSTEM=x\n": "4 WARNING: CPU: 0",
		"14,2,30,-;hello; world\n":                 "6 hello; world",
		"x":                                        "7 ",
	} {
		level, text := parseKmsg(m)
		if got := fmt.Sprint(level, " ", text); got != want {
			t.Errorf("%q: got %q, want %q", m, got, want)
		}
	}
}
