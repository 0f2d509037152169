package outside

import (
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

type pair[T any] struct{ a, b T }

type everything struct {
	yes    bool
	small  int8
	large  uint64
	since  time.Duration
	ratio  float32
	list   [2]pair[uint16]
	name   string
	others []int
	next   *everything
	_      [4]byte
	none   struct{}
	empty  [0]int
}

// A type is described in the words that the host knows.
func TestDescribe(t *testing.T) {
	Add[everything]("everything", Tasks, nil, nil, nil)
	Add[uint32]("number", Processes, nil, nil, nil)
	defer func() { Maps = nil }()
	const want = "{everything 104;yes@0 bool;small@8 s8;large@64 u64;since@128 s64;ratio@192 f32;list@224 [2]{pair 4;a@0 u16;b@16 u16;};" +
		"name@320 ?string 16;;others@448 ?slice 24;;next@640 ?ptr 8;;none@736 { 0;};empty@768 ?array 0;;}"
	if m := Maps[0]; m.Type != want || m.Size != 104 || m.Kind != Tasks {
		t.Errorf("%+v, want %s", m, want)
	}
	if m := Maps[1]; m.Type != "u32" || m.Size != 4 || m.Kind != Processes || m.Name != "number" {
		t.Errorf("%+v", m)
	}
}

// A value is made zero in its place, where there can be one.
func TestRenew(t *testing.T) {
	values := map[ID]*everything{{1, 1}: {large: 7, name: "x"}}
	Add("values", Tasks, func(id ID) *everything { return values[id] }, func(id ID) *everything {
		if id.N == 9 {
			return nil
		}
		if values[id] == nil {
			values[id] = &everything{}
		}
		return values[id]
	}, func(id ID) { delete(values, id) })
	defer func() { Maps = nil }()
	m := Maps[0]
	kept := values[ID{1, 1}]
	if m.Find(ID{1, 2}) != nil || m.Renew(ID{1, 9}) != nil || m.Renew(ID{1, 2}) == nil || m.Find(ID{1, 2}) == nil {
		t.Error("a value is where none can be, or none where one was made")
	}
	if m.Renew(ID{1, 1}) == nil || values[ID{1, 1}] != kept || kept.large != 0 || kept.name != "" {
		t.Errorf("it was made %+v", kept)
	}
	if m.Delete(ID{1, 1}); len(values) != 1 {
		t.Errorf("%d values", len(values))
	}
}
