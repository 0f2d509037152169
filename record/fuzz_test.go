package record

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/taskwatch/taskwatch"
)

// FuzzDecode gives the decoder anything at all: it must not panic, must name
// what it rejects, and what it takes must be stable.
func FuzzDecode(f *testing.F) {
	for text := range goldens(f) {
		f.Add([]byte(text))
	}
	for seed := range uint64(20) {
		f.Add(Append(nil, newGenerator(seed).line()))
	}
	for _, c := range badLines {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		sameAsParsed(t, text)
		first, err := Decode(text)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Reason == "" {
				t.Fatalf("the error is %#v, not a *SyntaxError with a reason", err)
			}
			return
		}
		if first == (taskwatch.Item{}) {
			return // optional, or the end
		}
		once := Append(nil, first)
		second, err := Decode(once)
		if err != nil {
			t.Fatalf("%v\nin its own %s\nof %s", err, once, text)
		}
		if twice := Append(nil, second); !bytes.Equal(once, twice) {
			t.Errorf("not stable:\n%s%s", once, twice)
		}
	})
}

// sameAsParsed fails the test if the cursor takes a line and reads in it what the
// parser does not.
func sameAsParsed(t *testing.T, text []byte) (taken bool) {
	t.Helper()
	ev, ok := newCursor(text).event()
	if !ok || !utf8.Valid(text) {
		return false
	}
	want, _, err := parse(text)
	if err != nil || !reflect.DeepEqual(want.Event, ev) {
		t.Fatalf("the cursor reads %+v\nof %s\nthe parser %+v, %v", ev, text, want.Event, err)
	}
	return true
}

// FuzzEvents records generated lines and reads them back.
func FuzzEvents(f *testing.F) {
	for seed := range uint64(1000) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		want := newGenerator(seed).line()
		text := Append(nil, want)
		if bytes.IndexByte(text, '\n') != len(text)-1 {
			t.Fatalf("not one line: %q", text)
		}
		if want.Event != nil && !sameAsParsed(t, text) {
			t.Errorf("the cursor does not take %s", text)
		}
		got, err := Decode(text)
		if err != nil {
			t.Fatalf("%v\nin %s", err, text)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read back %s\nwant %s", Append(nil, got), text)
		}
	})
}
