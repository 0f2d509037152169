package wasm

import (
	"bytes"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// A struct arrives as JSON, with its members in their order, and as its bytes where nobody
// knows its type.
func TestStructsAreSentAsJSON(t *testing.T) {
	want := []string{
		`{"z":18446744073709551615,"a":"first","at":[{"x":1,"y":-1},{"x":0,"y":0}],"ratio":0}`,
		`{"yes":true}`,
		`{"z":2,"a":"second","at":[{"x":0,"y":0},{"x":0,"y":0}],"ratio":0.5}`,
		`{"z":3,"a":"second","at":[{"x":0,"y":0},{"x":0,"y":0}],"ratio":0.5}`,
		"bytes",
	}
	sent := func(code []byte) (got []string) {
		o, err := Parse("emits", code)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Close() })
		m := hear(load(t, o, LoadOptions{Synchronous: true}), func(data []byte) { got = append(got, string(data)) })
		var r taskwatch.Registry
		register(t, &r, m.Watchers(0))
		if err := r.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: somebody(1)}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	code := buildFile(t, "emits.c")
	if got := sent(code); !slices.Equal(got, want) {
		t.Errorf("the records are %q, want %q", got, want)
	}
	untyped := bytes.Replace(code, []byte(cvalue.TypesSection), []byte("taskwatch.other"), 1)
	got := sent(untyped)
	if len(got) != len(want) || len(got[0]) != 32 || got[1] != "\x01" || got[4] != "bytes" {
		t.Errorf("without types the records are %q", got)
	}
}
