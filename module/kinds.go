package module

import "github.com/taskwatch/taskwatch"

// KindsOf returns the events that have anything in their list.
func KindsOf[T any](lists [][]T) taskwatch.Kinds {
	var s taskwatch.Kinds
	for k := range lists {
		if len(lists[k]) > 0 {
			s |= taskwatch.KindsOf(taskwatch.Kind(k))
		}
	}
	return s
}
