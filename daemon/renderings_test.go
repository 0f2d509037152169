package daemon

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// Whoever asks for the line of an item, in whatever order and with whatever fields,
// gets that which is made of the item.
func TestRenderings(t *testing.T) {
	var items []taskwatch.Item
	for i := range 3 * len(renderings{}) {
		ev := ordinaryExec()
		ev.Seq = uint64(i + 1)
		ev.Extra = &taskwatch.Extra{Given: taskwatch.FieldEnv, Env: []string{fmt.Sprint("A=", i)}}
		if i%7 == 0 {
			ev.Task.Argv = append(ev.Task.Argv, strings.Repeat("x", maxRendering))
		}
		items = append(items, taskwatch.Item{Event: ev})
	}
	var r renderings
	var all sync.WaitGroup
	for reader := range 8 {
		all.Go(func() {
			optional := []taskwatch.Fields{0, taskwatch.FieldEnv, taskwatch.FieldEnv | taskwatch.FieldNice}[reader%3]
			var got, want []byte
			for i := range items {
				at := i
				if reader%2 == 1 && i%16 == 5 { // one that others have passed long ago
					at = i / 2
				}
				got = r.append(append(got[:0], "before"...), items[at], optional)
				want = record.AppendFields(append(want[:0], "before"...), items[at], optional)
				if !bytes.Equal(got, want) {
					t.Errorf("item %d with %v: got %s, want %s", at, optional, got, want)
					return
				}
			}
		})
	}
	all.Wait()
	for i := range r {
		if len(r[i].line) > maxRendering || cap(r[i].line) > 2*maxRendering {
			t.Fatalf("a line of %d bytes is kept, in %d", len(r[i].line), cap(r[i].line))
		}
	}
}
