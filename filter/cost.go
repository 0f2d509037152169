package filter

import (
	"strings"

	"cel.dev/cel-go/common/cost"
)

// Typical sizes, for the estimated cost of an expression. Larger values show
// during the evaluation.
const (
	usualText      = 256 // characters
	usualArgs      = 256
	usualAncestors = 32
)

// sizes tells cel how large the values are.
type sizes struct{}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	path := n.Path()
	if len(path) == 0 {
		return nil
	}
	upTo := func(n uint64) *cost.SizeEstimate { return &cost.SizeEstimate{Max: n} }
	switch last := path[len(path)-1]; last {
	case "argv":
		return upTo(usualArgs)
	case "ancestors":
		return upTo(usualAncestors)
	case "uids", "gids", "old":
		return upTo(4)
	}
	return upTo(usualText)
}

// isCost reports whether an evaluation was stopped as too expensive.
func isCost(err error) bool { return strings.Contains(err.Error(), "cost limit exceeded") }
