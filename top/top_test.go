package top

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

var update = flag.Bool("update", false, "write the golden screens anew; they must still pass the tests of what is on them")

func TestMain(m *testing.M) { testutil.Main(m) }

// made is a made recording: the items of a build, whose truth is known.
type made struct {
	*Model
	ns  int64
	seq uint64
}

const second = int64(time.Second)

var midday = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// begin makes the recording of a machine.
func begin() *made {
	r := &made{Model: NewModel()}
	r.Zone = time.UTC
	r.ns = 1000 * second
	r.Take(taskwatch.Item{Start: &taskwatch.Start{Time: midday, MonoNS: r.ns}})
	return r
}

// nobody is a user id without a name on any machine that tests run on.
const nobody = 3999999999

type proc struct {
	pid, ppid int
	uid       uint32
	argv      []string
	cgroup    string
}

func (r *made) event(k taskwatch.Kind, p proc, change func(*taskwatch.Event)) *taskwatch.Event {
	r.seq++
	ev := &taskwatch.Event{Kind: k, Seq: r.seq, MonoNS: r.ns, Time: midday.Add(time.Duration(r.ns - 1000*second)), Source: "bpf",
		Task: &taskwatch.Task{
			ID: taskwatch.TaskID{Run: 1, N: uint64(p.pid)}, ParentID: taskwatch.TaskID{Run: 1, N: uint64(p.ppid)},
			PID: p.pid, TID: p.pid, PPID: p.ppid, Comm: filepath.Base(p.argv[0]), Exe: p.argv[0], Argv: p.argv,
			UID: taskwatch.IDs{p.uid, p.uid, p.uid, p.uid}, Cgroup: p.cgroup,
		}}
	if change != nil {
		change(ev)
	}
	r.Take(taskwatch.Item{Event: ev})
	return ev
}

// start has a process born, and run its program.
func (r *made) start(p, parent proc) {
	forked := p
	forked.argv = parent.argv
	r.event(taskwatch.Clone, forked, nil)
	r.event(taskwatch.Exec, p, nil)
}

func (r *made) exit(p proc, code, signal int, cpu time.Duration) {
	r.event(taskwatch.Exit, p, func(ev *taskwatch.Event) {
		ev.Exit = taskwatch.ExitStatus{Code: code, Signal: signal, Group: true}
		ev.Rusage.UTimeNS = int64(cpu)
	})
}

func (r *made) pass(d time.Duration) { r.ns += int64(d) }

const container = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var (
	mk      = proc{100, 1, nobody, []string{"/usr/bin/make", "-j2"}, "/"}
	cc      = proc{101, 100, nobody, []string{"/usr/bin/cc", "-c", "a b.c"}, "/"}
	cc2     = proc{102, 100, nobody, []string{"/usr/bin/cc", "-c", "c.c"}, "/"}
	tests   = proc{103, 100, nobody, []string{"/usr/bin/false"}, "/"}
	web     = proc{200, 1, nobody - 1, []string{"/bin/httpd", "\x1b]2;title\a"}, "/docker/" + container}
	crashed = proc{104, 100, nobody, []string{"/usr/bin/crash"}, "/"}
	script  = proc{105, 103, nobody, []string{"/bin/sh", "-c", "exit 0"}, "/"}
)

// build is: make runs cc for 2 s, then cc, false and crash; cc lives on. A server
// in a container lives. The veto of a module is denied.
func build() *made {
	r := begin()
	r.start(mk, proc{argv: []string{"/bin/bash"}})
	r.start(web, proc{argv: []string{"/bin/runc"}})
	r.start(cc, mk)
	r.pass(2 * time.Second)
	r.exit(cc, 0, 0, 1500*time.Millisecond)
	r.pass(8 * time.Second)
	r.start(cc2, mk)
	r.start(tests, mk)
	r.start(crashed, mk)
	r.start(script, tests)
	r.pass(250 * time.Millisecond)
	ev := r.event(taskwatch.Exec, script, nil)
	r.Take(taskwatch.Item{Failure: &taskwatch.Failure{Module: "rule", Watcher: "no_sh", Kind: taskwatch.Exec,
		Err: errors.New("sh is not wanted"), Verdict: taskwatch.Denied, Event: ev}})
	r.Take(taskwatch.Item{Record: taskwatch.NewRecord("rule", []byte(`{"text":"hello"}`), ev)})
	r.exit(script, 0, 0, 0)
	r.exit(tests, 1, 0, 10*time.Millisecond)
	r.exit(crashed, 0, int(syscall.SIGSEGV), 0)
	r.Take(taskwatch.Item{Failed: &taskwatch.FailedExec{Path: "/nowhere", Argv: []string{"nowhere", "-x"}, Errno: syscall.ENOENT,
		MonoNS: r.ns, Time: ev.Time, Task: ev.Task}})
	r.Take(taskwatch.Item{Loss: &taskwatch.Loss{Count: 7, Seq: 99}})
	return r
}

// lines returns the screen's lines of a table, each as its fields.
func lines(s *Screen) (table [][]string) {
	for _, l := range strings.Split(s.String(), "\n")[4 : s.Height-1] {
		if f := strings.Fields(l); len(f) > 0 {
			table = append(table, f)
		}
	}
	return table
}

// styled returns the styles of the screen, a letter for each cell.
func (s *Screen) styled() string {
	const letters = ".THAC-+xBN"
	var b strings.Builder
	for _, line := range s.Cells {
		for _, c := range line {
			b.WriteByte(letters[c.Style])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// golden compares a screen, text and styles, with a file.
func golden(t *testing.T, name string, s *Screen) {
	t.Helper()
	got := s.String() + s.styled()
	file := filepath.Join("testdata", name+".screen")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the screen is\n%s\nand was\n%s", name, got, want)
	}
}

type webRuntime struct{}

func (webRuntime) Lookup(context.Context, string) (enrich.Container, error) {
	return enrich.Container{Name: "web\x1b[2J"}, nil
}

// A container has its name, as soon as a runtime has told it, and the filter knows
// it, too.
func TestContainerNames(t *testing.T) {
	names := enrich.NewNames(webRuntime{})
	defer names.Close()
	r := begin()
	r.Names = names
	inside := proc{pid: 200, ppid: 1, uid: nobody, argv: []string{"/bin/httpd"}, cgroup: "/system.slice/docker-" + container + ".scope"}
	r.start(inside, inside)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, ok := names.Of(container); ok {
			break
		}
	}
	v := NewView(r.Model, "")
	v.Press(Key('1' + Containers))
	for _, where := range []string{"", `container.name.startsWith("web")`} {
		if err := v.Where(where); err != nil {
			t.Fatal(err)
		}
		got := lines(v.Draw(80, 24))
		if len(got) != 1 || !strings.HasPrefix(got[0][5], "web") || strings.Contains(got[0][5], "\x1b") || !slices.Contains(got[0], container[:12]) {
			t.Errorf("with the filter %q, the containers are %q", where, got)
		}
	}
}

// Each table has the truth of the recording, whatever the golden screens say.
func TestScreens(t *testing.T) {
	r := build()
	v := NewView(r.Model, "a made build")
	truth := map[Tab][][]string{
		Tree: { // mk was born 10 s ago; cc is dead for longer than it is shown
			{"100", "3999999999", "12:00:00", "/usr/bin/make", "-j2"},
			{"102", "3999999999", "12:00:10", "+", "new", "/usr/bin/cc", "-c", "c.c"},
			{"103", "3999999999", "12:00:10", "-", "exit", "1", "/usr/bin/false"},
			{"105", "3999999999", "12:00:10", "-", "exit", "0", "/bin/sh", "-c", "'exit", "0'"},
			{"104", "3999999999", "12:00:10", "-", "SIGSEGV", "/usr/bin/crash"},
			{"200", "3999999998", "12:00:00", "/bin/httpd", `$'\033]2;title\007'`},
		},
		Programs: { // of the last 10 s: all but what started 10 s ago
			{"0.2", "2", "0", "0", "0.000s", "/bin/sh"},
			{"0.1", "2", "1", "0", "1.500s", "/usr/bin/cc"},
			{"0.1", "1", "0", "1", "0.000s", "/usr/bin/crash"},
			{"0.1", "1", "0", "1", "0.010s", "/usr/bin/false"},
			{"0", "1", "1", "0", "0.000s", "/bin/httpd"},
			{"0", "1", "1", "0", "0.000s", "/usr/bin/make"},
		},
		Users: {
			{"0.5", "7", "2", "2", "1.510s", "3999999999"},
			{"0", "1", "1", "0", "0.000s", "3999999998"},
		},
		Containers: {
			{"0.5", "7", "2", "2", "1.510s", "(none)"},
			{"0", "1", "1", "0", "0.000s", container[:12]},
		},
		Slow: {
			{"2.000s", "1.500s", "101", "3999999999", "exit", "0", "/usr/bin/cc", "-c", "'a", "b.c'"},
			{"0.250s", "0.000s", "105", "3999999999", "exec", "/bin/sh", "-c", "'exit", "0'"},
			{"0.250s", "0.010s", "103", "3999999999", "exit", "1", "/usr/bin/false"},
			{"0.250s", "0.000s", "104", "3999999999", "SIGSEGV", "/usr/bin/crash"},
			{"0.000s", "<0.000s", "105", "3999999999", "exit", "0", "/bin/sh", "-c", "'exit", "0'"},
		},
		Failures: {
			{"12:00:10", "105", "3999999999", "exec:", "no", "such…", "nowhere", "-x"},
			{"12:00:10", "104", "3999999999", "SIGSEGV", "/usr/bin/crash"},
			{"12:00:10", "103", "3999999999", "exit", "1", "/usr/bin/false"},
		},
		Modules: {
			{"rule", "no_sh", "exec", "denied", "1", "0.1", "sh", "is", "not", "wanted", "(10…"},
			{"rule", "record", "1", "0.1", `{"text":"hello"}`, "(10…"},
		},
	}
	for tab := range NumTabs {
		v.Press(Key('1' + tab))
		s := v.Draw(80, 24)
		got := lines(s)
		want := truth[tab]
		for i := range max(len(got), len(want)) {
			var g, w []string
			if i < len(got) {
				g = got[i]
			}
			if i < len(want) {
				w = slices.Clone(want[i])
				for j, f := range w { // user ids are cut to their column
					if f == "3999999999" || f == "3999999998" {
						if slices.Contains([]Tab{Tree, Slow, Failures}, tab) {
							w[j] = f[:8] + "…"
						}
					}
				}
			}
			if !slices.Equal(g, w) {
				t.Errorf("%s, line %d: %q, and the truth is %q", tab, i+1, g, w)
			}
		}
		head := strings.Split(s.String(), "\n")
		if !strings.HasPrefix(head[1], "live 3   per second: born 0.4  died 0.4  programs 0.5  failed 0.3") || !strings.HasSuffix(head[1], "lost 7") {
			t.Errorf("%s: %q", tab, head[1])
		}
		if len(s.Cells) != 24 || slices.ContainsFunc(s.Cells, func(l []Cell) bool { return len(l) != 80 }) {
			t.Errorf("%s: the screen is not 80 x 24", tab)
		}
		golden(t, strings.ToLower(tab.String()), s)
	}
	v.Press('?')
	golden(t, "help", v.Draw(80, 24))
}

// Styles say what is new, and what failed.
func TestTreeMarks(t *testing.T) {
	r := build()
	v := NewView(r.Model, "")
	v.Press(End) // so that no line of interest is the chosen one
	style := func(pid int) Style {
		s := v.Draw(80, 24)
		for _, l := range s.Cells[4:23] {
			var text strings.Builder
			for _, c := range l {
				text.WriteString(c.Text)
			}
			if f := strings.Fields(text.String()); len(f) > 0 && f[0] == fmt.Sprint(pid) {
				return l[5].Style
			}
		}
		return NumStyles
	}
	for pid, want := range map[int]Style{100: Plain, 102: Born, 103: Bad, 104: Bad, 105: Died, 101: NumStyles} {
		if got := style(pid); got != want {
			t.Errorf("%d has style %d, want %d", pid, got, want)
		}
	}
	if !r.advance(r.ns + int64(JustNow)) {
		t.Error("the marks do not go away by time alone")
	}
	for pid, want := range map[int]Style{102: Plain, 103: NumStyles, 104: NumStyles} {
		if got := style(pid); got != want {
			t.Errorf("later, %d has style %d, want %d", pid, got, want)
		}
	}
	for ns := r.ns; !r.Settled(); ns += second {
		r.advance(ns)
	}
	if v.Draw(80, 24); r.advance(r.ns + 100*second) {
		t.Error("something changes for ever")
	}
	if s := v.Draw(80, 24).String(); !strings.Contains(s, "born 0.0  died 0.0  programs 0.0  failed 0.0") {
		t.Errorf("rates of what is long ago:\n%s", s)
	}
}

// The exit of a thread makes no process that nobody will see the end of, where
// that of its process came before, or where nothing else is known of it.
func TestLateThreads(t *testing.T) {
	r := begin()
	r.start(mk, proc{argv: []string{"/bin/bash"}})
	thread := func(p proc) {
		r.event(taskwatch.Exit, p, func(ev *taskwatch.Event) { ev.Task.TID, ev.Task.ID.N = p.pid+1000, uint64(p.pid+1000) })
	}
	thread(mk)
	r.exit(mk, 0, 0, 0)
	thread(mk)
	thread(web)
	r.event(taskwatch.Exit, cc, nil) // its other threads live on
	if n := len(r.procs); n != 0 {
		t.Errorf("%d processes live, want none", n)
	}
}

// What is chosen stays chosen when lines come and go; P goes to the parent, and
// through the dead; f stays with the newest; c copies what a shell reads back.
func TestKeys(t *testing.T) {
	r := build()
	v := NewView(r.Model, "")
	chosen := func() int {
		v.Draw(80, 24)
		return v.rows[v.tab][v.at[v.tab].index].proc.PID
	}
	v.Draw(80, 24)
	v.Press('/')
	for _, k := range "crash" {
		v.Press(Key(k))
	}
	v.Press(Enter)
	if chosen() != 104 {
		t.Fatalf("the search has found %d", chosen())
	}
	late := proc{106, 105, nobody, []string{"/bin/late"}, "/"}
	r.start(late, script)
	if chosen() != 104 {
		t.Errorf("%d is chosen since there is a new line", chosen())
	}
	if v.Press('f'); chosen() != 106 {
		t.Errorf("%d is followed, and the newest is 106", chosen())
	}
	for _, want := range []int{105, 103, 100} {
		if v.Press('P'); chosen() != want {
			t.Errorf("the parent is %d, want %d", chosen(), want)
		}
	}
	if v.Press('P'); v.Message == "" {
		t.Error("nobody says that there is no parent")
	}
	v.Press('5')
	if a := v.Press('c'); a.Copy != "/usr/bin/cc -c 'a b.c'" {
		t.Errorf("copied %q", a.Copy)
	}
	if v.Press('p'); !v.Paused {
		t.Error("no pause")
	}
	before := v.Draw(80, 24).String()
	r.pass(time.Minute)
	r.exit(cc2, 3, 0, 0)
	if now := v.Draw(80, 24).String(); now != before {
		t.Errorf("a pause shows\n%s\nand before\n%s", now, before)
	}
	if v.Press('p'); !strings.Contains(v.Draw(80, 24).String(), "exit 3") {
		t.Error("what happened in the pause is not there after it")
	}
	if !v.Press('q').Quit {
		t.Error("q does not end it")
	}
}

// An expression chooses what is shown and counted, of what is kept as well.
func TestWhere(t *testing.T) {
	for _, live := range []bool{false, true} {
		var r *made
		var v *View
		expr := `exe.endsWith("cc")`
		if live { // set before anything happens, or after
			r = build()
			v = NewView(r.Model, "")
			if err := v.Where(expr); err != nil {
				t.Fatal(err)
			}
		} else {
			r = begin()
			v = NewView(r.Model, "")
			if err := v.Where(expr); err != nil {
				t.Fatal(err)
			}
			r.start(mk, proc{argv: []string{"/bin/bash"}})
			r.start(cc, mk)
			r.exit(cc, 0, 0, 1500*time.Millisecond)
			r.start(cc2, mk)
		}
		if got := lines(v.Draw(80, 24)); len(got) == 0 || got[len(got)-1][0] != "102" || slices.ContainsFunc(got, func(l []string) bool { return l[0] == "100" }) {
			t.Errorf("the tree has %q", got)
		}
		v.Press('2')
		if got := lines(v.Draw(80, 24)); len(got) != 1 || got[0][2] != "1" || got[0][4] != "1.500s" || got[0][5] != "/usr/bin/cc" {
			t.Errorf("the programs are %q", got)
		}
		v.Press('6')
		if got := v.Draw(80, 24).String(); !strings.Contains(got, "nothing matches "+expr) {
			t.Errorf("failures that were not chosen:\n%s", got)
		}
	}
	v := NewView(begin().Model, "")
	v.Press('w')
	for _, k := range "nosuchfield == 1" {
		v.Press(Key(k))
	}
	v.Press(Enter)
	if !strings.Contains(v.Message, "nosuchfield") {
		t.Errorf("of a wrong expression it says %q", v.Message)
	}
	if s := v.Draw(80, 24).String(); !strings.Contains(s, "where: nosuchfield == 1") {
		t.Errorf("it cannot be mended:\n%s", s)
	}
}

// However much happens, no more is kept than the limits say.
func TestBounds(t *testing.T) {
	r := begin()
	r.start(mk, proc{argv: []string{"/bin/bash"}})
	const n = 3 * maxEnded
	for i := range n {
		p := proc{1000 + i, 100, uint32(100000 + i), []string{fmt.Sprintf("/bin/p%d", i)}, fmt.Sprintf("/docker/%064x", i)}
		r.start(p, mk)
		r.pass(time.Millisecond)
		r.Take(taskwatch.Item{Failure: &taskwatch.Failure{Module: fmt.Sprint("m", i), Watcher: "w", Kind: taskwatch.Exec, Err: errors.New("no")}})
		r.exit(p, 1, 0, 0)
	}
	if len(r.procs) != 1 || len(r.ended.list) != maxEnded || len(r.slow) != maxSlow || len(r.failed.list) != maxFailed || len(r.watchers) != maxWatchers {
		t.Errorf("%d live, %d ended, %d slow, %d failed, %d watchers are kept",
			len(r.procs), len(r.ended.list), len(r.slow), len(r.failed.list), len(r.watchers))
	}
	for _, gs := range []groups{r.programs, r.users, r.containers} {
		if n := len(gs.byName); n > maxGroups {
			t.Errorf("%d groups are kept", n)
		}
	}
	if processes, tasks := r.tree.Len(); processes > 2000 || tasks > 10 {
		t.Errorf("the tree has %d processes and %d tasks", processes, tasks)
	}
	if got := r.all.born.total; got != n+1 {
		t.Errorf("%d were born, and %d counted", n+1, got)
	}
	if live := r.programs.byName["/usr/bin/make"].Live; live != 1 {
		t.Errorf("make lives %d times", live)
	}
}

// Any size is drawn, with any text.
func TestSizes(t *testing.T) {
	r := build()
	wide := proc{300, 100, nobody, []string{"/bin/宽宽宽", strings.Repeat("é̂宽", 5000), "\xff\x00"}, "/"}
	r.start(wide, mk)
	v := NewView(r.Model, strings.Repeat("宽", 100))
	for w := range 130 {
		for _, h := range []int{0, 1, 2, 7, 8, 9, 24, 200} {
			for tab := range NumTabs {
				v.Press(Key('1' + tab))
				s := v.Draw(w, h)
				for y, l := range s.Cells {
					if len(l) != max(w, 1) {
						t.Fatalf("%dx%d: line %d has %d cells", w, h, y, len(l))
					}
				}
			}
		}
	}
}

func BenchmarkTake(b *testing.B) {
	r := begin()
	r.start(mk, proc{argv: []string{"/bin/bash"}})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := cc
		p.pid = 1000 + i
		r.start(p, mk)
		r.exit(p, 0, 0, 0)
	}
}

func BenchmarkDraw(b *testing.B) {
	r := begin()
	r.start(mk, proc{argv: []string{"/bin/bash"}})
	for i := range 1000 {
		p := cc
		p.pid = 1000 + i
		r.start(p, mk)
	}
	v := NewView(r.Model, "")
	b.ReportAllocs()
	for b.Loop() {
		r.version++
		v.Draw(80, 24)
	}
}

// Of what is typed, the end is seen, and whole characters of it.
func TestLongInput(t *testing.T) {
	v := NewView(begin().Model, "made")
	v.Press('/')
	for _, r := range strings.Repeat("é世", 40) + "end" {
		v.Press(Key(r))
	}
	s := v.Draw(40, 10)
	last := strings.Split(s.String(), "\n")[9]
	if !strings.HasPrefix(last, "search: ") || !strings.HasSuffix(last, "世é世end") || strings.ContainsAny(last, "\\…\ufffd") || s.CursorX < 37 || s.CursorX > 39 {
		t.Errorf("the input is shown as %q, the cursor at %d", last, s.CursorX)
	}
}

// On the smallest screen each table says which one it is, and each line what it is
// about; a wider one has more columns.
func TestNarrow(t *testing.T) {
	v := NewView(build().Model, "a made build")
	about := [NumTabs]string{Tree: "/usr/bin/make -j2", Programs: "/usr/bin/cc", Users: "3999999999", Containers: container[:12],
		Slow: "/usr/bin/cc -c", Failures: "nowhere -x", Modules: "sh is"}
	for tab := range NumTabs {
		v.Press(Key('1' + tab))
		small := v.Draw(40, 8)
		for _, want := range []string{fmt.Sprintf(" %d %s", tab+1, tab), about[tab]} {
			if !strings.Contains(small.String(), want) {
				t.Errorf("40 columns do not have %q:\n%s", want, small)
			}
		}
		columns := 0
		for _, width := range []int{40, 50, 60, 70, 80} {
			n := len(strings.Fields(strings.Split(v.Draw(width, 8).String(), "\n")[3]))
			if n < columns {
				t.Errorf("%s has %d columns, and %d on a narrower screen than %d", tab, n, columns, width)
			}
			columns = n
		}
		if columns != len(columnsOf[tab]) {
			t.Errorf("with 80 columns %s has %d of %d", tab, columns, len(columnsOf[tab]))
		}
	}
	for _, size := range [][2]int{{39, 24}, {80, 7}, {28, 1}} {
		if s := v.Draw(size[0], size[1]).String(); !strings.HasPrefix(s, "needs 40 columns and 8 lines") {
			t.Errorf("%v shows %q", size, s)
		}
	}
}
