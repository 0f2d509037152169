package report

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/table"
	"github.com/taskwatch/taskwatch/process"
)

func playText(t *testing.T, dryRun bool, opts TextOptions) string {
	t.Helper()
	var b bytes.Buffer
	opts.Clock = &Clock{Style: TimeUTC, Now: func() time.Time { return sceneStart }}
	text := NewText(&b, opts)
	play(t, dryRun, text)
	if err := text.Err(); err != nil {
		t.Error(err)
	}
	if n, tasks := text.processes.Len(); n != 0 || tasks != 0 {
		t.Errorf("%d processes and %d tasks are kept after their end", n, tasks)
	}
	return b.String()
}

// diff fails the test with both texts unless they are the same.
func diff(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestText(t *testing.T) {
	diff(t, playText(t, false, TextOptions{}), `
16:30:49.001000 exec       10 sh -c 'cc it'\''s; su'
16:30:49.004000 exec       11   cc 'a file.c'
16:30:50.246000 exit       11   exit 1 after 1.24s, CPU 420.0ms: cc 'a file.c'
16:30:50.251000 exec       14   su -
16:30:50.251000 error      14   exec: error of guard (report.guardExec): odd\033[2J: su -
16:30:50.252000 uid        14   effective 0 -> 7, saved 0 -> 7, fs 0 -> 7, by syscall: su -
16:30:50.253000 uid        14   real 0 -> 7, by syscall: su -
16:30:50.254000 gid        14   0 -> 8, by exec: su -
16:30:50.255000 error      14   exec denied by guard (report.guardExec): permission denied: rm -rf /
                lost        - 3 events lost here
16:30:50.256000 exec       14   -sh
16:30:50.257000 exit       14   signal 9 (SIGKILL), core dumped after 1.0ms, CPU at most 3.0ms: -sh
16:30:50.261000 exit       15   exit 0 after 1.0ms, CPU 0s: fork of sh -c 'cc it'\''s; su'
16:30:50.265000 exit       10 exit 0 after 1.26s, CPU 1.0ms: sh -c 'cc it'\''s; su'
`[1:])
}

func TestTextOfEverything(t *testing.T) {
	diff(t, playText(t, true, TextOptions{Threads: true, Kinds: taskwatch.AllKinds, Width: 79}), `
16:30:49.001000 exec       10      10 sh -c 'cc it'\''s; su'
16:30:49.002000 init        -       -   child of 10: sh -c 'cc it'\''s; su'
16:30:49.003000 clone      11      11   child of 10: sh -c 'cc it'\''s; su'
16:30:49.004000 exec       11      11   cc 'a file.c'
16:30:49.005000 init        -       -   thread: cc 'a file.c'
16:30:49.006000 clone      11      12   thread: cc 'a file.c'
16:30:49.007000 init        -       -   thread: cc 'a file.c'
16:30:49.008000 clone      11      13   thread: cc 'a file.c'
16:30:49.009000 exit       11      12   thread exit 0: cc 'a file.c'
16:30:49.010000 free       11      12   freed after 1.00s: cc 'a file.c'
16:30:49.011000 exit       11      11   thread exit 1: cc 'a file.c'
16:30:50.246000 exit       11      13   exit 1 after 1.24s, CPU 420.0ms: cc 'a…
16:30:50.247000 free       11      13   freed after 1.00s: cc 'a file.c'
16:30:50.248000 free       11      11   freed after 1.00s: cc 'a file.c'
16:30:50.249000 init        -       -   vfork child of 10: sh -c 'cc it'\''s; …
16:30:50.250000 clone      14      14   vfork child of 10: sh -c 'cc it'\''s; …
16:30:50.251000 exec       14      14   su -
16:30:50.251000 error      14      14   exec: error of guard (report.guardExec…
16:30:50.252000 uid        14      14   effective 0 -> 7, saved 0 -> 7, fs 0 -…
16:30:50.253000 uid        14      14   real 0 -> 7, by syscall: su -
16:30:50.254000 gid        14      14   0 -> 8, by exec: su -
                lost        -       - 3 events lost here
16:30:50.255000 error      14      14   exec would be denied (dry run) by guar…
16:30:50.256000 exec       14      14   -sh
16:30:50.257000 exit       14      14   signal 9 (SIGKILL), core dumped after …
16:30:50.258000 free       14      14   freed after 1.00s: -sh
16:30:50.259000 init        -       -   child of 10: sh -c 'cc it'\''s; su'
16:30:50.260000 clone      15      15   child of 10: sh -c 'cc it'\''s; su'
16:30:50.261000 exit       15      15   exit 0 after 1.0ms, CPU 0s: fork of sh…
16:30:50.262000 free       15      15   freed after 1.00s: fork of sh -c 'cc i…
16:30:50.263000 init        -       -   child of 10: sh -c 'cc it'\''s; su'
16:30:50.264000 free        -       -   freed, its fork failed: sh -c 'cc it'\…
16:30:50.265000 exit       10      10 exit 0 after 1.26s, CPU 1.0ms: sh -c 'cc…
16:30:50.266000 free       10      10 freed after 1.00s: sh -c 'cc it'\''s; su'
`[1:])
}

func TestTextShowsWhatIsAskedFor(t *testing.T) {
	diff(t, playText(t, false, TextOptions{Kinds: taskwatch.KindsOf(taskwatch.Clone, taskwatch.Free)}), `
16:30:49.003000 clone      11   child of 10: sh -c 'cc it'\''s; su'
16:30:50.248000 free       11   freed after 1.00s: cc 'a file.c'
16:30:50.250000 clone      14   vfork child of 10: sh -c 'cc it'\''s; su'
16:30:50.251000 error      14   exec: error of guard (report.guardExec): odd\033[2J: su -
16:30:50.255000 error      14   exec denied by guard (report.guardExec): permission denied: rm -rf /
                lost        - 3 events lost here
16:30:50.258000 free       14   freed after 1.00s: -sh
16:30:50.260000 clone      15   child of 10: sh -c 'cc it'\''s; su'
16:30:50.262000 free       15   freed after 1.00s: fork of sh -c 'cc it'\''s; su'
16:30:50.264000 free        -   freed, its fork failed: sh -c 'cc it'\''s; su'
16:30:50.266000 free       10 freed after 1.00s: sh -c 'cc it'\''s; su'
`[1:])
}

var sgr = regexp.MustCompile("\x1b\\[[0-9]*m")

func TestColourChangesNothingElse(t *testing.T) {
	for _, width := range []int{0, 20, 60, 79} {
		opts := TextOptions{Width: width, Kinds: taskwatch.AllKinds}
		plain := playText(t, false, opts)
		opts.Colour = true
		coloured := playText(t, false, opts)
		if strings.Contains(plain, "\x1b") {
			t.Errorf("width %d: escape sequences without colour", width)
		}
		if !strings.Contains(coloured, red) {
			t.Errorf("width %d: no colour", width)
		}
		diff(t, sgr.ReplaceAllString(coloured, ""), plain)
		for line := range strings.Lines(coloured) {
			all := sgr.FindAllString(line, -1)
			if len(all) > 0 && all[len(all)-1] != plainText {
				t.Errorf("width %d: the colour of %q does not end", width, line)
			}
		}
	}
}

func TestLinesAreCutWithAMark(t *testing.T) {
	full := strings.SplitAfter(playText(t, false, TextOptions{}), "\n")
	for width := 1; width < 120; width++ {
		for i, line := range strings.SplitAfter(playText(t, false, TextOptions{Width: width}), "\n") {
			want := strings.TrimSuffix(full[i], "\n")
			if utf8.RuneCountInString(want) > width {
				want = want[:width-1] + table.CutMark // the scene is ASCII
			}
			if got := strings.TrimSuffix(line, "\n"); got != want {
				t.Fatalf("width %d: %q, want %q", width, got, want)
			}
		}
	}
}

func TestWideCharactersFit(t *testing.T) {
	for width := 1; width < 12; width++ {
		c := table.Line{Width: width}
		c.Add("a漢b字c🎉d")
		got := string(c.Bytes)
		kept, cut := strings.CutSuffix(got, table.CutMark)
		n := 0
		n += uniseg.StringWidth(kept)
		if cut {
			n++
		}
		if n > width || cut != (width < 10) || !strings.HasPrefix("a漢b字c🎉d", kept) {
			t.Errorf("%d columns: %q takes %d", width, got, n)
		}
	}
}

// hostile programs try to write to the terminal from every text they own.
func TestNothingUnescapedReachesTheTerminal(t *testing.T) {
	var b bytes.Buffer
	var reg taskwatch.Registry
	text := NewText(&b, TextOptions{Threads: true, Kinds: taskwatch.AllKinds})
	summary := NewSummary(SummaryOptions{})
	for _, sink := range []taskwatch.Sink{text, summary} {
		if err := reg.Attach(sink); err != nil {
			t.Fatal(err)
		}
	}
	for i, evil := range []string{"\x1b[2J", "\x9b2J", "\u009b2J", "a\nb", "a\rb", "\b\b\b", "\x7f", "\u202egpj.exe", "\u2028", "\x00", "\xff\xfe", "\u200b"} {
		for _, argv := range [][]string{{evil, "x" + evil}, nil} {
			for _, exe := range []string{"/" + evil, ""} {
				task := &taskwatch.Task{ID: id(i + 1), PID: i + 1, TID: i + 1, Comm: evil, Exe: exe, Argv: argv, Cwd: evil, Cgroup: evil}
				for _, k := range taskwatch.AllKinds.List() {
					ev := &taskwatch.Event{Kind: k, Task: task, OldExe: evil, Source: evil, Exit: taskwatch.ExitStatus{Code: 1, Group: true}}
					if err := reg.Feed().Notify(ev); err != nil {
						t.Fatal(err)
					}
					text.Take(taskwatch.Item{Failure: &taskwatch.Failure{Module: evil, Watcher: evil, Err: errors.New(evil), Event: ev}})
				}
			}
		}
	}
	if _, err := summary.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	shown := b.String()
	if n := strings.Count(shown, "exec: error of "); n != 12*4 {
		t.Errorf("%d errors on exec are shown, want %d", n, 12*4)
	}
	for i, r := range shown {
		if r != '\n' && !printsRune(shown[i:], r) {
			t.Fatalf("%q reaches the terminal in %q", r, shown[max(0, i-80):i+1])
		}
	}
	for line := range strings.Lines(shown) {
		if strings.HasPrefix(line, "b") {
			t.Errorf("a program has made a line of its own: %q", line)
		}
	}
}

func printsRune(rest string, r rune) bool {
	return r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) && r != '\u202e' && r != '\u2028' && r != '\u200b' &&
		(r != utf8.RuneError || strings.HasPrefix(rest, "\ufffd"))
}

func TestPidReuse(t *testing.T) {
	var b bytes.Buffer
	text := NewText(&b, TextOptions{Location: time.UTC})
	event := func(k taskwatch.Kind, pid, ppid, task int, msec int64, argv ...string) {
		ev := &taskwatch.Event{Kind: k, MonoNS: msec * ms, Exit: taskwatch.ExitStatus{Group: true},
			Task: &taskwatch.Task{ID: id(task), PID: pid, TID: pid, PPID: ppid, Argv: argv}}
		text.Take(taskwatch.Item{Event: ev})
	}
	event(taskwatch.Clone, 10, 1, 1, 1)
	event(taskwatch.Clone, 11, 10, 2, 2) // its exit is lost
	event(taskwatch.Clone, 12, 11, 3, 3)
	event(taskwatch.Clone, 11, 12, 4, 4) // takes over the pid
	event(taskwatch.Exit, 11, 12, 4, 6, "a")
	event(taskwatch.Clone, 13, 12, 5, 7) // its exit is lost as well
	event(taskwatch.Exit, 13, 10, 6, 9, "b")
	event(taskwatch.Exec, 12, 11, 7, 10, "c") // by a thread that was not the leader
	event(taskwatch.Exit, 12, 11, 7, 13, "c")
	pad := strings.Repeat(" ", len(clockLayout))
	diff(t, b.String(), strings.ReplaceAll(`
TIME exit       11       exit 0 after 2.0ms, CPU 0s: a
TIME exit       13   exit 0: b
TIME exec       12     c
TIME exit       12     exit 0 after 3.0ms, CPU 0s: c
`[1:], "TIME", pad))
	if n, _ := text.processes.Len(); n != 1 {
		t.Errorf("%d processes are kept, want only that with pid 10", n)
	}
}

func TestMissingFields(t *testing.T) {
	var b bytes.Buffer
	text := NewText(&b, TextOptions{Kinds: taskwatch.AllKinds})
	event := func(k taskwatch.Kind, missing taskwatch.Fields) {
		ev := &taskwatch.Event{Kind: k, Val: 256, Missing: missing & taskwatch.FieldsOf(k), LifetimeNS: ms,
			Task: &taskwatch.Task{PID: 5, TID: 5, PPID: 4, Comm: "x y", Exe: "/a b", Argv: []string{"q"}, UID: taskwatch.IDs{1, 2, 3, 4}, GID: taskwatch.IDs{6, 6, 6, 6}}}
		text.Take(taskwatch.Item{Event: ev})
	}
	const all = ^taskwatch.Fields(0)
	event(taskwatch.Exec, taskwatch.FieldArgv)
	event(taskwatch.Exec, taskwatch.FieldArgv|taskwatch.FieldExe)
	event(taskwatch.Exec, all)
	event(taskwatch.UID, taskwatch.FieldOld|taskwatch.FieldCause)
	event(taskwatch.GID, taskwatch.FieldOld)
	event(taskwatch.UID, all)
	event(taskwatch.Clone, taskwatch.FieldPPID|taskwatch.FieldVal)
	event(taskwatch.Exit, taskwatch.FieldsExit)
	event(taskwatch.Exit, all)
	event(taskwatch.Free, taskwatch.FieldLifetime)
	text.Take(taskwatch.Item{Loss: &taskwatch.Loss{}})
	text.Take(taskwatch.Item{Failure: &taskwatch.Failure{Err: errors.New("m"), Crash: true, Event: &taskwatch.Event{Kind: taskwatch.Exec}}})
	pad := strings.Repeat(" ", len(clockLayout))
	diff(t, b.String(), strings.ReplaceAll(`
TIME exec        5 '/a b'
TIME exec        5 [x y]
TIME exec        - ?
TIME uid         5 now real 1, effective 2, saved 3, fs 4: q
TIME gid         5 now 6: q
TIME uid         - changed: ?
TIME clone       5 child: q
TIME exit        5 exit 1: q
TIME exit        - ended: ?
TIME free        5 freed: q
TIME lost        - events lost here; the number is unknown
TIME error       - exec: crash of a built-in: m
`[1:], "TIME", pad))
}

// A long command line is in full once, where it is run.
func TestLongCommandsAreShownInFullOnce(t *testing.T) {
	argv := []string{"cc", strings.Repeat("x", shortCommand)}
	for _, c := range []struct {
		kinds taskwatch.Kinds
		want  []bool // in full
	}{
		{DefaultKinds, []bool{true, false}},
		{taskwatch.KindsOf(taskwatch.Exit), []bool{true}},
	} {
		var b bytes.Buffer
		text := NewText(&b, TextOptions{Kinds: c.kinds})
		task := &taskwatch.Task{ID: id(1), PID: 5, TID: 5, Argv: argv}
		for _, k := range []taskwatch.Kind{taskwatch.Exec, taskwatch.Exit} {
			text.event(&taskwatch.Event{Kind: k, Task: task, Exit: taskwatch.ExitStatus{Group: true}})
		}
		var full []bool
		for line := range strings.Lines(b.String()) {
			full = append(full, strings.HasSuffix(line, strings.Join(argv, " ")+"\n"))
			if !full[len(full)-1] && !strings.HasSuffix(line, "x"+table.CutMark+"\n") {
				t.Errorf("%s: %q is cut without a mark", c.kinds, line)
			}
		}
		if !slices.Equal(full, c.want) {
			t.Errorf("%s: in full %v, want %v:\n%s", c.kinds, full, c.want, b.String())
		}
	}
}

// The span of a program that is first seen after its exec may be longer than
// what was seen of it.
func TestLifeBeforeTheFirstEvent(t *testing.T) {
	var b bytes.Buffer
	text, summary := NewText(&b, TextOptions{Kinds: taskwatch.KindsOf(taskwatch.Exit)}), NewSummary(SummaryOptions{})
	task := &taskwatch.Task{ID: id(1), PID: 5, TID: 5, Argv: []string{"q"}}
	for ms, k := range []taskwatch.Kind{1: taskwatch.UID, 2: taskwatch.Exit} {
		ev := &taskwatch.Event{Kind: k, Task: task, MonoNS: int64(ms) * 1e6, Exit: taskwatch.ExitStatus{Group: true}}
		if ms > 0 {
			text.event(ev)
			summary.event(ev)
		}
	}
	if want := "exit 0 after at least 1.0ms, CPU at most 0s: q\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("text %q, want %q at its end", b.String(), want)
	}
	if got, want := summaryText(t, summary), "  >1.0ms   0s"; !strings.Contains(got, want) {
		t.Errorf("summary, want %q in it:\n%s", want, got)
	}
}

// The line of an exit has the CPU time of the program that ends, without what
// earlier programs of the process have used.
func TestCPUTimeOfAProgram(t *testing.T) {
	for _, c := range []struct {
		before  *taskwatch.Extra
		missing taskwatch.Fields
		want    string
	}{
		{&taskwatch.Extra{BeforeUTimeNS: 300 * ms, BeforeSTimeNS: 9 * ms}, 0, "exit 0 after 2.0ms, CPU 1.0ms: true\n"},
		{nil, 0, "exit 0 after 2.0ms, CPU at most 310.0ms: true\n"},
		{nil, taskwatch.FieldSTime, "exit 0 after 2.0ms: true\n"},
	} {
		var b bytes.Buffer
		text := NewText(&b, TextOptions{})
		task := &taskwatch.Task{ID: id(1), PID: 5, TID: 5, Argv: []string{"sh"}}
		event := func(k taskwatch.Kind, at int64, extra *taskwatch.Extra) {
			ev := &taskwatch.Event{Kind: k, Task: task, MonoNS: at * ms, Exit: taskwatch.ExitStatus{Group: true}}
			if ev.Extra = extra; extra != nil {
				ev.Extra.Given = process.UsageBefore
			}
			if k == taskwatch.Exit {
				ev.Rusage, ev.Missing = taskwatch.Rusage{UTimeNS: 301 * ms, STimeNS: 9 * ms}, c.missing
			}
			text.Take(taskwatch.Item{Event: ev})
		}
		event(taskwatch.Exec, 1, nil)
		task.Argv = []string{"true"}
		event(taskwatch.Exec, 310, c.before)
		event(taskwatch.Exit, 312, nil)
		if !strings.HasSuffix(b.String(), c.want) {
			t.Errorf("got\n%swant at its end %q", b.String(), c.want)
		}
	}
}

type fullDisk struct{ writes int }

var errFull = errors.New("the disk is full")

func (d *fullDisk) Write([]byte) (int, error) { d.writes++; return 0, errFull }

func TestTextWriteError(t *testing.T) {
	var d fullDisk
	text := NewText(&d, TextOptions{})
	play(t, false, text)
	if err := text.Err(); !errors.Is(err, errFull) {
		t.Errorf("Err: %v", err)
	}
	if d.writes != 1 {
		t.Errorf("%d writes, want none after the first error", d.writes)
	}
}

func ExampleText() {
	var b bytes.Buffer
	var reg taskwatch.Registry
	today := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	text := NewText(&b, TextOptions{Clock: &Clock{Style: TimeUTC, Now: func() time.Time { return today }}})
	if err := reg.Attach(text); err != nil {
		fmt.Println(err)
	}
	_ = reg.Feed().Notify(&taskwatch.Event{
		Kind: taskwatch.Exec, Time: time.Date(2026, 11, 23, 16, 30, 49, 0, time.UTC),
		Task: &taskwatch.Task{PID: 161, TID: 161, Argv: []string{"make", "-j2", "a target"}},
	})
	fmt.Print(b.String())
	// Output: 16:30:49.000000 exec      161 make -j2 'a target'
}
