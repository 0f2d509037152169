package link

import "github.com/taskwatch/taskwatch/internal/plan"

// Called lists the watchers that a hook calls, by id and event.
func Called(h *plan.Hook, modules []*Module) []uint32 {
	var ids []uint32
	for _, c := range h.Calls {
		for _, l := range inOrder(modules, c) {
			if l.Concerned(c) {
				if l.Marks != nil {
					ids = append(ids, l.ID)
				}
				for _, w := range l.Watchers(c.List()) {
					ids = append(ids, w.ID)
				}
			}
		}
		ids = append(ids, 0)
	}
	if l := labeller(modules); l != nil {
		ids = append(ids, l.ID)
	}
	return ids
}
