package hub

import "github.com/taskwatch/taskwatch/fleet"

// page is how many bytes of content an answer has so far. As JSON in JSON it becomes at
// most about twice as large, and a message has room for that: see maxPayload.
type page struct{ size int }

// takes reports whether something of a size goes into the page. The first thing does.
func (p *page) takes(size int) bool {
	if p.size > 0 && p.size+size > fleet.PieceSize {
		return false
	}
	p.size += size
	return true
}
