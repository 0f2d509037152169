package top

import (
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// A command line that does not fit is read with left and right; it is copied
// whole, or it is said that its end is unknown.
func TestLongCommands(t *testing.T) {
	r := begin()
	long := proc{100, 1, nobody, []string{"/bin/long", strings.Repeat("abcdefghij", 600) + "theend"}, "/"}
	r.start(long, mk)
	v := NewView(r.Model, "")
	last := func() string { return strings.Split(v.Draw(80, 24).String(), "\n")[4] }
	begins := last()
	if v.Press(Right); !strings.Contains(last(), "…") || strings.Contains(last(), "/bin/long") || !strings.Contains(last(), "abcdefghij") {
		t.Errorf("to the right there is %q", last())
	}
	for range 1000 {
		v.Press(Right)
	}
	if end := last(); !strings.HasSuffix(end, "theend") {
		t.Errorf("at the end there is %q", end)
	}
	for range 1000 {
		v.Press(Left)
	}
	if last() != begins {
		t.Errorf("after left there is %q, and was %q", last(), begins)
	}
	if a := v.Press('c'); a.Copy != strings.Join(long.argv, " ") || !strings.HasPrefix(v.Message, "copied: /bin/long") {
		t.Errorf("%d bytes of %d are copied, and it says %.40q", len(a.Copy), len(strings.Join(long.argv, " ")), v.Message)
	}
	r.event(taskwatch.Exec, long, func(ev *taskwatch.Event) { ev.Task.Argv, ev.Task.ArgvCut = []string{"/bin/cut", "of many"}, true })
	if a := v.Press('c'); a.Copy != "/bin/cut 'of many'" || !strings.HasPrefix(v.Message, "copied the beginning") {
		t.Errorf("of what is not known whole, %q is copied, and it says %q", a.Copy, v.Message)
	}
}

// All of the help can be read on the smallest screen.
func TestHelpScrolls(t *testing.T) {
	v := NewView(build().Model, "")
	for _, height := range []int{8, 12, 24, 100} {
		v.Draw(80, height)
		v.Press('?')
		seen := map[string]bool{}
		for range len(helpText) {
			for l := range strings.Lines(v.Draw(80, height).String()) {
				seen[strings.TrimSpace(l)] = true
			}
			v.Press(Down)
		}
		for _, l := range helpText {
			if !seen[strings.TrimSpace(l)] {
				t.Errorf("with %d lines, the help never has %q", height, l)
			}
		}
		before := v.at[Tree].index
		if v.Press(Escape); v.help || v.at[Tree].index != before {
			t.Errorf("with %d lines, Escape does not just end the help", height)
		}
	}
}

// Rates are those of the chosen processes as soon as an expression is set, and
// those of all once it is gone.
func TestRatesOfAFilter(t *testing.T) {
	v := NewView(build().Model, "")
	rates := func(where string) string {
		t.Helper()
		if err := v.Where(where); err != nil {
			t.Fatal(err)
		}
		return strings.Split(v.Draw(80, 24).String(), "\n")[1]
	}
	for where, want := range map[string]string{
		"":           "live 3   per second: born 0.4  died 0.4  programs 0.5  failed 0.2",
		"pid == 104": "live 0   per second: born 0.1  died 0.1  programs 0.1  failed 0.1",
		"pid == 105": "live 0   per second: born 0.1  died 0.1  programs 0.2  failed 0.0",
	} {
		if got := rates(where); !strings.HasPrefix(got, want) {
			t.Errorf("of %q: %q, want %q", where, got, want)
		}
	}
	v.Press(Key('1' + Programs))
	rates(`exe.endsWith("cc")`)
	if got := lines(v.Draw(80, 24)); len(got) != 1 || !slices.Equal(got[0][:3], []string{"0.1", "2", "1"}) {
		t.Errorf("of two compilers, one started just now and one lives: %q", got)
	}
}
