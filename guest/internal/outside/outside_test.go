package outside

import (
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

type pair[T any] struct{ A, B T }

type everything struct {
	Yes    bool
	Small  int8
	Large  uint64
	Since  time.Duration
	Ratio  float32
	List   [2]pair[uint16]
	Name   string
	Others []int
	Next   *everything
	_      [4]byte
	None   struct{}
	Empty  [0]int
}

// A type is described in the words that the host knows.
func TestDescribe(t *testing.T) {
	Add[everything]("everything", Tasks, nil, nil, nil, nil)
	Add[uint32]("number", Processes, nil, nil, nil, nil)
	defer func() { Maps = nil }()
	const want = "{everything 104;Yes@0 bool;Small@8 s8;Large@64 u64;Since@128 s64;Ratio@192 f32;List@224 [2]{pair 4;A@0 u16;B@16 u16;};" +
		"Name@320 ?string 16;;Others@448 ?slice 24;;Next@640 ?ptr 8;;None@736 { 0;};Empty@768 ?array 0;;}"
	if m := Maps[0]; m.Type != want || m.Size != 104 || m.Kind != Tasks {
		t.Errorf("%+v, want %s", m, want)
	}
	if m := Maps[1]; m.Type != "u32" || m.Size != 4 || m.Kind != Processes || m.Name != "number" {
		t.Errorf("%+v", m)
	}
}

// A value is made zero in its place, where there can be one.
func TestRenew(t *testing.T) {
	values := map[ID]*everything{{1, 1}: {Large: 7, Name: "x"}}
	create := func(id ID) *everything {
		if id.N == 9 {
			return nil
		}
		if values[id] == nil {
			values[id] = &everything{}
		}
		return values[id]
	}
	Add("values", Tasks, func(id ID) *everything { return values[id] }, create, create, func(id ID) { delete(values, id) })
	defer func() { Maps = nil }()
	m := Maps[0]
	kept := values[ID{1, 1}]
	if m.Find(ID{1, 2}) != nil || m.Renew(ID{1, 9}) != nil || m.Renew(ID{1, 2}) == nil || m.Find(ID{1, 2}) == nil {
		t.Error("a value is where none can be, or none where one was made")
	}
	if m.Renew(ID{1, 1}) == nil || values[ID{1, 1}] != kept || kept.Large != 0 || kept.Name != "" {
		t.Errorf("it was made %+v", kept)
	}
	if m.Delete(ID{1, 1}); len(values) != 1 {
		t.Errorf("%d values", len(values))
	}
}
