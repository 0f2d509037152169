package html

import (
	"compress/gzip"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// lines returns the lines of a page.
func lines(t *testing.T, page string) []string {
	t.Helper()
	_, data, _ := strings.Cut(page, dataHead)
	data, _, _ = strings.Cut(data, "<")
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// A page with a filter has everything, says what it is about, and marks each
// program that is chosen once; it gathers what the filter reads. Bytes that are
// no valid UTF-8 stand for themselves.
func TestFiltered(t *testing.T) {
	var out strings.Builder
	sink := NewFiltered(&out, nil, "nice > 0", taskwatch.FieldNice, func(it taskwatch.Item, _ *process.Process) bool {
		return it.Event != nil && it.Event.Task.PID == 8
	})
	if w := sink.Wants(); !w[taskwatch.Exec].Has(taskwatch.FieldNice) || w[taskwatch.Init] != 0 {
		t.Errorf("it wants %v", w)
	}
	take := func(k taskwatch.Kind, ns int64, pid int) {
		sink.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: k, MonoNS: ns, Exit: taskwatch.ExitStatus{Group: true}, Task: &taskwatch.Task{
			ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, PID: pid, TID: pid, Exe: "/bin/\xff",
		}}})
	}
	take(taskwatch.Exec, 1000, 7)
	take(taskwatch.Exec, 2000, 8)
	take(taskwatch.Exec, 3000, 8) // another program
	take(taskwatch.Exit, 4000, 8)
	take(taskwatch.Exit, 5000, 7)
	sink.Take(taskwatch.Item{Start: &taskwatch.Start{Source: "test"}}) // another run
	take(taskwatch.Exec, 6000, 8)
	if err := sink.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := lines(t, out.String())
	if all[0] != "F\t\"nice \\u003e 0\"" {
		t.Errorf("the first line is %s", all[0])
	}
	var marks []string
	begun := 0
	for _, l := range all {
		switch l[0] {
		case 'M':
			marks = append(marks, l)
		case 'B':
			begun++
		}
	}
	if want := []string{"M 1", "M 2", "M 3"}; !slices.Equal(marks, want) || begun != 4 {
		t.Errorf("%d programs, marked are %q, want 4 and %q:\n%s", begun, marks, want, strings.Join(all, "\n"))
	}
	if !slices.Contains(all, "N\t\"/bin/\uefff\"") {
		t.Errorf("a byte is lost:\n%s", strings.Join(all, "\n"))
	}
}
