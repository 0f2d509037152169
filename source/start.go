package source

import (
	"bytes"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// NewStart returns what a recording of the source's run begins with. The
// command is that which is run, or nil. What cannot be found out is left out.
func NewStart(s Source, command []string) *taskwatch.Start {
	caps := s.Capabilities()
	now := time.Now()
	start := &taskwatch.Start{
		Time: now, MonoNS: sys.Monotonic(), Machine: firstLine("/etc/machine-id"), Boot: procfs.BootID(),
		TimeZone: timeZone(now), Source: s.Name(), Scope: caps.Scope, Command: command,
	}
	start.Host, _ = os.Hostname()
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		var words []string
		for _, field := range [][]byte{u.Sysname[:], u.Release[:], u.Version[:], u.Machine[:]} {
			word, _, _ := bytes.Cut(field, []byte{0})
			words = append(words, string(word))
		}
		start.Kernel = strings.Join(words, " ")
	}
	for k, c := range caps.Events {
		start.Events[k] = taskwatch.StartEvent{
			Delivered: c.Delivered, Veto: c.Veto, Missing: c.Missing, MayMiss: c.MayMiss, Hook: c.Hook, Why: c.Why,
		}
	}
	return start
}

// StartAgain returns a start for what follows of the same run.
func StartAgain(s *taskwatch.Start) *taskwatch.Start {
	again := *s
	again.Time, again.MonoNS = time.Now(), sys.Monotonic()
	return &again
}

func firstLine(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// timeZone returns the name of the local time zone, or the offset where it has
// none.
func timeZone(now time.Time) string {
	if tz, set := os.LookupEnv("TZ"); set && tz != "" && !strings.HasPrefix(tz, "/") && !strings.HasPrefix(tz, ":") {
		return tz
	}
	if to, err := os.Readlink("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(to, "zoneinfo/"); ok {
			return name
		}
	}
	return now.Format("-07:00")
}
