package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/fleet/selector"
)

// atATime says how many nodes of those that are chosen: a number, or a share. The zero
// value is not given.
type atATime struct {
	text  string
	count int
	share int // percent; 0 where it is a number
}

// given reports whether there is one.
func (a *atATime) given() bool { return a.text != "" }

// of returns how many of some nodes that are, at least one.
func (a *atATime) of(nodes int) int {
	if a.share == 0 {
		return a.count
	}
	return max(nodes*a.share/100, 1)
}

// String, Set and Type are for package pflag.
func (a *atATime) String() string { return a.text }

// Type names it for flagError.
func (a *atATime) Type() string { return "atATime" }

// Set reads it.
func (a *atATime) Set(text string) error {
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil, n < 1, percent && n > 100:
		return errors.New("it is no number of nodes")
	case percent:
		*a = atATime{text: text, share: n}
	default:
		*a = atATime{text: text, count: n}
	}
	return nil
}

// chosenBy returns how many nodes an expression of --select chooses, for something. It
// says so where there are none: the expression may have a mistake, which is no error
// where nodes are yet to come.
func chosenBy(ctx context.Context, c *operator.Conn, expr, what string) (int, error) {
	sel, err := selector.Parse(expr)
	if err != nil {
		return 0, err
	}
	all, chosen, err := c.Chosen(ctx, sel)
	switch {
	case err != nil:
		return 0, err
	case len(chosen) > 0:
	case len(all) == 0:
		say("%s: the fleet has no nodes yet", what)
	default:
		say("%s: %s", what, choosesNone(sel, all))
	}
	return len(chosen), nil
}

// choosesNone says that an expression chooses none of some nodes, and which of its
// labels none of them has.
func choosesNone(sel *selector.Selector, nodes []fleet.NodeState) string {
	text := fmt.Sprintf("--select chooses none of %s", plural(len(nodes), "node", "nodes"))
	var unknown []string
	for _, label := range sel.Labels() {
		has := slices.ContainsFunc(nodes, func(n fleet.NodeState) bool { _, ok := n.Report.Facts.Labels[label]; return ok })
		if !has {
			unknown = append(unknown, label)
		}
	}
	if len(unknown) > 0 {
		text += "; no node has the label " + strings.Join(unknown, " or ")
	}
	return text
}
