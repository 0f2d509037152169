package selector

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/fleet"
)

func TestSelector(t *testing.T) {
	node := &fleet.Facts{Name: "ci-1", Arch: "amd64", Kernel: "6.12.1", Source: "bpf", KernelModules: true, Labels: map[string]string{"role": "ci", "site": "b"}}
	for expr, want := range map[string]bool{
		"":                              true,
		`role == "ci"`:                  true,
		`role == "db"`:                  false,
		`rack == ""`:                    true, // a label that the node does not have
		`kernel_modules && arch != "x"`: true,
		`name.startsWith("ci-") && kernel.startsWith("6.1.")`: false,
		`site in ["a", "b"]`:              true,
		`["a", "b"].exists(s, s == site)`: true,
	} {
		s, err := Parse(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got, err := s.Chooses(node); got != want || err != nil {
			t.Errorf("%s is %v, %v; want %v", expr, got, err, want)
		}
	}
	for expr, says := range map[string]string{
		`role == `:           "it is not an expression: it ends too early",
		`role == "ci`:        "a quote is not closed",
		`role = "ci"`:        "to compare is ==",
		`role`:               "it is of type string, not true or false; compare it with something",
		`kernel_modules + 1`: "+ cannot be between bool and int",
		`role == 1`:          "== cannot be between string and int; a number stands without quotes",
		`len(role) == 2`:     `there is no function "len"`,
	} {
		if _, err := Parse(expr); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), expr) {
			t.Errorf("%s: the error is %v, want one that says %q", expr, err, says)
		}
	}
}

// The labels of an expression are what it reads of a node, not what it calls the elements
// of its lists.
func TestLabels(t *testing.T) {
	for expr, want := range map[string]string{
		``: "[]", `role == "ci" && role != zone`: "[role zone]", `["a"].exists(s, s == site)`: "[site]", `[a, b].all(x, x != "")`: "[a b]",
		`x == "" && ["a"].exists(x, x == y)`: "[x y]", `[x].exists(x, x == y)`: "[x y]", `["a"].exists(x, ["b"].exists(y, x + y == z)) || y == ""`: "[z y]",
	} {
		s, err := Parse(expr)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		if got := fmt.Sprint(s.Labels()); got != want {
			t.Errorf("%s has the labels %s, want %s", expr, got, want)
		}
		if _, err := s.Chooses(&fleet.Facts{}); err != nil {
			t.Error(err)
		}
	}
}

// A label is what an expression can name.
func TestIsLabel(t *testing.T) {
	for name, want := range map[string]bool{
		"role": true, "_x": true, "R2_d2": true, "int": true, "type": true,
		"": false, "2a": false, "a-b": false, "a.b": false, "kubernetes.io/os": false, "a b": false, "é": false, "name": false, "arch": false,
		"in": false, "true": false, "null": false, "if": false, "while": false, "package": false,
	} {
		if got := IsLabel(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// An expression that costs too much is an error of the node that meets it, not
// its end.
func TestCost(t *testing.T) {
	list := "[" + strings.Repeat("1,", 60) + "1]"
	s, err := Parse(list + ".all(a, " + list + ".all(b, " + list + ".all(c, a == b || c == a || true)))")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Chooses(&fleet.Facts{}); err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("the error is %v", err)
	}
}
