package wire

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/randevent"
)

// event returns an event with random values in every field that a record has.
func event(r *rand.Rand) *taskwatch.Event {
	ev := randevent.New(r, taskwatch.Kind(r.IntN(taskwatch.NumLists)))
	ev.Missing = taskwatch.Fields(r.Uint64()) &^ taskwatch.OptionalFields
	if asked := taskwatch.OptionalOf(ev.Kind); r.IntN(3) > 0 {
		ev.Give(asked, randevent.Extra(r, asked&taskwatch.Fields(r.Uint64()), func() string { return "" }))
		dropTexts(ev.Extra)
	}
	t := ev.Task
	ev.OldExe, t.Exe, t.Argv, t.Cwd, t.Cgroup = "", "", nil, "", ""
	return ev
}

// dropTexts leaves of optional fields what a record has.
func dropTexts(x *taskwatch.Extra) {
	if x != nil {
		setTexts(x, new(taskwatch.Extra))
	}
}

// The sizes of records are what modules in binary form are built against: they
// never change, and a new one comes before them.
func TestSizesArePinned(t *testing.T) {
	if want := []int{432, 424, 416, 400, 392, 384, 272}; !slices.Equal(Sizes, want) || Size != Sizes[0] {
		t.Errorf("sizes %v, want %v", Sizes, want)
	}
}

// What was put is what is decoded, field by field.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		want := event(r)
		var b [Size]byte
		for i := range b {
			b[i] = 0xff // what an earlier record has left
		}
		Put(&b, want)
		got, err := Decode(b[:])
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v %+v\nwant %+v %+v", got, got.Task, want, want.Task)
		}
	}
}

// What is hidden is missing and zero, in a record of every size, and the rest is what
// it was.
func TestHide(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		want := event(r)
		want.Task.Argv = make([]string, 1+r.IntN(3))
		hidden := taskwatch.Fields(r.Uint64())
		var b [Size]byte
		Put(&b, want)
		Hide(b[:Sizes[r.IntN(len(Sizes))]], hidden)
		got, err := Decode(b[:])
		if err != nil {
			t.Fatal(err)
		}
		hidden &= Spared & taskwatch.FieldsOf(want.Kind)
		want.Missing |= hidden
		argc := len(want.Task.Argv)
		if hidden.Has(taskwatch.FieldArgv) {
			argc, want.Task.ArgvCut = 0, false
		}
		want.Task.Argv = nil
		for i, f := range taskwatch.FieldsRusage.List() {
			if hidden.Has(f) {
				reflect.ValueOf(&want.Rusage).Elem().Field(i).SetZero()
			}
		}
		if !reflect.DeepEqual(got, want) || le.Uint32(b[offArgc:]) != uint32(argc) {
			t.Fatalf("without %v\ngot  %+v %+v\nwant %+v %+v, with %d arguments", hidden, got, got.Task, want, want.Task, argc)
		}
	}
}

func TestPut(t *testing.T) {
	var b [Size]byte
	Put(&b, &taskwatch.Event{Task: &taskwatch.Task{Comm: "a name of more than 15 bytes", Argv: []string{"a", "b", "c"}}})
	if got := string(b[offComm : offComm+16]); got != "a name of more \x00" {
		t.Errorf("comm is %q", got)
	}
	if got := le.Uint32(b[offArgc:]); got != 3 {
		t.Errorf("argc is %d", got)
	}
	if got := le.Uint64(b[offTimeNS:]); got != 0 {
		t.Errorf("no time is %d", got)
	}
	ev := event(rand.New(rand.NewPCG(3, 4)))
	if n := testing.AllocsPerRun(100, func() { Put(&b, ev) }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func TestDecodeRejects(t *testing.T) {
	var good [Size]byte
	Put(&good, event(rand.New(rand.NewPCG(5, 6))))
	for what, change := range map[string]func(b []byte) []byte{
		"nothing":          func([]byte) []byte { return nil },
		"a byte less":      func(b []byte) []byte { return b[:Size-1] },
		"another size":     func(b []byte) []byte { b[offSize]++; return b },
		"another version":  func(b []byte) []byte { b[offABI]++; return b },
		"an unknown event": func(b []byte) []byte { b[offEvent] = taskwatch.NumLists; return b },
		"a comm without end": func(b []byte) []byte {
			for i := range 16 {
				b[offComm+i] = 'x'
			}
			return b
		},
	} {
		b := good
		if ev, err := Decode(change(b[:])); err == nil {
			t.Errorf("%s was decoded as %+v", what, ev)
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 4 {
		var b [Size]byte
		Put(&b, event(r))
		f.Add(b[:])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := Decode(b)
		if err != nil {
			return
		}
		var again [Size]byte
		Put(&again, ev)
		back, err := Decode(again[:])
		if err != nil || !reflect.DeepEqual(back, ev) {
			t.Errorf("%x\ngave %+v, then %+v, %v", b, ev, back, err)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	var buf [Size]byte
	ev := event(rand.New(rand.NewPCG(9, 10)))
	for b.Loop() {
		Put(&buf, ev)
	}
}
