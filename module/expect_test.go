package module

import (
	"slices"
	"testing"
)

func TestParseExpectation(t *testing.T) {
	for _, c := range []struct {
		text, name string
		path       []string
		want       string
	}{
		{"execs=3", "execs", nil, "3"},
		{"prefix=", "prefix", nil, ""},
		{"prefix=a=b", "prefix", nil, "a=b"},
		{"lifetimes[10]=1", "lifetimes", []string{"10"}, "1"},
		{"users[1000].execs=3", "users", []string{"1000", "execs"}, "3"},
		{"a.b.c[0][1]=x", "a", []string{"b", "c", "0", "1"}, "x"},
		{`paths["/a]=b"].n=1`, "paths", []string{`"/a]=b"`, "n"}, "1"},
		{`m[{"a":[1]}]=true`, "m", []string{`{"a":[1]}`}, "true"},
	} {
		e, err := ParseExpectation(c.text)
		if err != nil || e.Name != c.name || !slices.Equal(e.Path, c.path) || e.Want != c.want || e.Text != c.text {
			t.Errorf("%q is %+v, %v", c.text, e, err)
		}
	}
	for _, text := range []string{"", "execs", "=3", "[1]=3", "a[=3", "a[]=3", "a[1=3", `a["x]=3`, "a.=3", "a..b=3", "a[1]b=3", "a.b"} {
		if e, err := ParseExpectation(text); err == nil {
			t.Errorf("%q is taken: %+v", text, e)
		}
	}
}

func TestExpectationMet(t *testing.T) {
	value := map[string]any{"n": uint64(3), "neg": int64(-2), "name": "sh", "on": true, "list": []any{uint64(1), uint64(2)}}
	for _, c := range []struct {
		text string
		met  bool
	}{
		{"v.n=3", true}, {"v.n=4", false}, {"v.n=3.0", false}, {"v.n=three", false}, {"v.n=", false},
		{"v.neg=-2", true},
		{"v.name=sh", true}, {`v.name="sh"`, true}, {"v.name=s", false}, {"v.name=", false},
		{"v.on=true", true}, {"v.on=1", false},
		{"v.list=[1, 2]", true}, {"v.list[1]=2", true}, {"v.list=[1]", false},
	} {
		e, err := ParseExpectation(c.text)
		if err != nil {
			t.Fatal(err)
		}
		found, err := Find(value, e.Path)
		if err != nil || e.Met(found) != c.met {
			t.Errorf("%s: of %v it is met: %v, %v", c.text, found, e.Met(found), err)
		}
	}
	for _, path := range [][]string{{"none"}, {"n", "x"}, {"list", "2"}, {"list", "-1"}, {"list", "x"}} {
		if found, err := Find(value, path); err == nil {
			t.Errorf("%q finds %v", path, found)
		}
	}
}
