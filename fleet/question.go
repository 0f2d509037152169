package fleet

import (
	"encoding/json"
	"time"
)

// Question is what an operator asks all nodes. It is sent again before Lease is
// over, as long as answers are wanted.
type Question struct {
	ID     string        `json:"id"`
	Where  string        `json:"where"`            // an expression over items: see package filter
	Select string        `json:"select,omitempty"` // one over nodes: see package selector
	Lease  time.Duration `json:"lease_ns"`
	End    bool          `json:"end,omitempty"` // no more answers are wanted
}

// Bounds of questions.
const (
	MinLease     = time.Second
	MaxLease     = 5 * time.Minute
	MaxQuestions = 16 // that a node answers at a time
)

// Answer is a message of a node about a question. The items of a node are
// numbered, so that those that are missing are seen.
type Answer struct {
	Name    string `json:"name"`              // of the node's host
	Items   uint64 `json:"items"`             // the number of the last of these, from 1
	Dropped uint64 `json:"dropped,omitempty"` // that the node has dropped so far
	Error   string `json:"error,omitempty"`   // why there are none, and no more answers

	// Lines are the items, as in a recording. The first answer has the start alone:
	// from then on they are complete.
	Lines []json.RawMessage `json:"lines,omitempty"`
}
