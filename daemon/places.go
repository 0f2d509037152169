package daemon

import "github.com/taskwatch/taskwatch"

// category is a group of items that a stream selects by the name of an event.
type category uint8

const (
	ofEvent   category = 0
	ofFailure          = category(taskwatch.NumKinds)
	ofRecord           = category(taskwatch.NumKinds+taskwatch.NumLists) + iota - 2
	ofFailed
	ofLoss
	numCategories
)

func categoryOf(it taskwatch.Item) category {
	switch {
	case it.Event != nil:
		return ofEvent + category(it.Event.Kind)
	case it.Failure != nil:
		return ofFailure + category(it.Failure.Kind)
	case it.Record != nil:
		return ofRecord
	case it.Failed != nil:
		return ofFailed
	}
	return ofLoss
}

// places counts the items of each category. A loss counts as many as it stands
// for.
type places [numCategories]uint64

// in returns the place among the items of some categories.
func (p *places) in(set categories) (n uint64) {
	for c, k := range p {
		if set[c] {
			n += k
		}
	}
	return n
}

// categories are the categories of a stream.
type categories [numCategories]bool
