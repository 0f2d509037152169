package bench

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestIntervalOf(t *testing.T) {
	upTo := func(n int) (list []float64) {
		for i := range n {
			list = append(list, float64((i*7)%n+1)) // 1 to n, in another order unless 7 divides n
		}
		return list
	}
	for _, c := range []struct {
		n    int
		want Interval
	}{
		{0, Interval{}},
		{1, Interval{1, 1, 1}},
		{3, Interval{1, 2, 3}},
		{8, Interval{1, 4.5, 8}}, // 2 of 256 coins fall on one side
		{11, Interval{1, 6, 11}},
		{12, Interval{2, 6.5, 11}}, // 26 of 4,096
		{24, Interval{6, 12.5, 19}},
	} {
		if got := intervalOf(upTo(c.n)); got != c.want {
			t.Errorf("%d ratios: %v, want %v", c.n, got, c.want)
		}
	}
}

func TestWorseIsWhatIsBeyondTheNoise(t *testing.T) {
	control := Comparison{Watcher: Control, Loads: []LoadComparison{{Load: "fork", Rate: Interval{0.96, 1, 1.03}}, {Load: "exec", Rate: Interval{1.01, 1.02, 1.03}}}}
	for _, c := range []struct {
		why  string
		made Comparison
		want []string
	}{
		{"within the control's", Comparison{Loads: []LoadComparison{{Load: "fork", Rate: Interval{0.9, 0.93, 0.97}}}}, nil},
		{"below the control's", Comparison{Loads: []LoadComparison{{Load: "fork", Rate: Interval{0.9, 0.93, 0.95}}}}, []string{"the load fork runs at 0.930"}},
		{"less than a hundredth", Comparison{Loads: []LoadComparison{{Load: "exec", Rate: Interval{0.991, 0.993, 0.995}}}}, nil},
		{"a control above 1 is no excuse", Comparison{Loads: []LoadComparison{{Load: "exec", Rate: Interval{0.97, 0.98, 0.985}}}}, []string{"the load exec runs at 0.980"}},
		{"CPU", Comparison{Loads: []LoadComparison{{Load: "exec", Rate: Interval{1, 1, 1}, CPU: Interval{1.02, 1.1, 1.2}}}}, []string{"takes 1.100 (1.020 to 1.200) times as much CPU"}},
		{"perhaps CPU", Comparison{Loads: []LoadComparison{{Load: "exec", Rate: Interval{1, 1, 1}, CPU: Interval{0.99, 1.1, 1.2}}}}, nil},
		{"losses", Comparison{Loads: []LoadComparison{{Load: "exec", Rate: Interval{1, 1, 1}, Lost: 3, LostOther: 2}}}, []string{"3 events are lost, instead of 2"}},
		{"as many losses", Comparison{Loads: []LoadComparison{{Load: "exec", Rate: Interval{1, 1, 1}, Lost: 2, LostOther: 2}}}, nil},
		{"memory", Comparison{PeakRSS: 12 << 20, PeakRSSOther: 10 << 20}, []string{"the peak RSS is 12.0 MiB instead of 10.0 MiB"}},
		{"a little memory", Comparison{PeakRSS: 11 << 20, PeakRSSOther: 10 << 20}, nil},
	} {
		c.made.Watcher = ToGo
		list := []Comparison{control, c.made}
		judge(list)
		if len(list[0].Worse) != 0 || len(list[1].Worse) != len(c.want) {
			t.Errorf("%s: %q, want %q", c.why, list[1].Worse, c.want)
			continue
		}
		for i, want := range c.want {
			if got := list[1].Worse[i]; !strings.HasPrefix(got, ToGo+": ") || !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q", c.why, got, want)
			}
		}
	}
}

// Two programs are measured in turns, and each figure is there for both. What the
// other one says when it does not know its part is said with its name.
func TestCompare(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t)
	t.Parallel()
	cfg := testConfig()
	cfg.Loads = []Load{Fork, Exec}
	list, err := Compare(t.Context(), cfg, cfg.Self, []*Watcher{ByName(Control), ByName(ToGo)})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Watcher != Control || list[1].Watcher != ToGo {
		t.Fatalf("got %+v", list)
	}
	for _, c := range list {
		if len(c.Loads) != 2 || c.PeakRSS == 0 || c.PeakRSSOther == 0 || c.Worse != nil {
			t.Errorf("%+v", c)
		}
		for _, l := range c.Loads {
			if l.Rate.Median <= 0 || l.Lost != 0 || l.LostOther != 0 || (c.Watcher == ToGo) != (l.CPU.Median > 0) {
				t.Errorf("%s: %+v", c.Watcher, l)
			}
		}
	}
	var text bytes.Buffer
	if err := WriteComparisons(&text, list, cfg.Pairs); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{ToGo, "fork", "exec", "0 / 0", "1 pairs of runs are too few"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, text.String())
		}
	}
	if _, err := Compare(t.Context(), cfg, []string{"false"}, []*Watcher{ByName(ToGo)}); err == nil || !strings.Contains(err.Error(), "false") || !strings.Contains(err.Error(), "before it watched") {
		t.Errorf("another program that is no taskwatch: %v", err)
	}
}

func TestVerdict(t *testing.T) {
	worse := []Comparison{{Worse: []string{"a", "b"}}, {}, {Worse: []string{"c"}}}
	for _, c := range []struct {
		list  []Comparison
		pairs int
		want  string
	}{
		{worse, enoughPairs, "Worse by more than the noise:\n  a\n  b\n  c"},
		{[]Comparison{{}}, enoughPairs, "Nothing is worse by more than the noise."},
		{worse, enoughPairs - 1, "too few"},
	} {
		if got := verdict(c.list, c.pairs); !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestDoubtsOfComparisons(t *testing.T) {
	list := []Comparison{
		{Watcher: ToGo, Loads: []LoadComparison{{Load: "fork", Rate: Interval{Median: 4.7}}}},
		{Watcher: Control, Loads: []LoadComparison{{Load: "fork", Rate: Interval{Median: 0.8}}, {Load: "exec", Rate: Interval{Median: 1.09}}}},
	}
	want := []string{
		fmt.Sprintf("the load average was %.2f on 2 processors: other work was running", 0.51),
		"the control, which watches nothing, has 0.800 for fork instead of 1",
	}
	if got := DoubtsOf(list, 0.51, 2); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
