package fleet

import (
	"encoding/json"
	"strings"
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

	// Gather is how long a node collects items after it has sent some, so that it
	// sends many at once.
	Gather time.Duration `json:"gather_ns,omitempty"`

	// Window is how many bytes of items a node may have sent that the operator has
	// not read: see Receipt. A single item may be larger.
	Window int `json:"window,omitempty"`
}

// Bounds of questions.
const (
	MinLease     = time.Second
	MaxLease     = 5 * time.Minute
	MaxGather    = 5 * time.Second
	MinWindow    = 8 << 10
	MaxWindow    = 4 << 20
	MaxQuestions = 16 // that a node answers at a time

	MaxQuestionsOfOne = 4        // the same, of one operator
	MaxQuestion       = 64 << 10 // bytes
)

// maxQuestionID is how many characters the id of a question may have.
const maxQuestionID = 64

// ValidQuestion reports whether a text can be the id of a question: lower case letters and
// digits. It becomes part of a subject, and a server closes the connection of a client that
// publishes to a long one.
func ValidQuestion(id string) bool {
	return id != "" && len(id) <= maxQuestionID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// Bound brings the question within its bounds.
func (q *Question) Bound() {
	q.Lease = min(max(q.Lease, MinLease), MaxLease)
	q.Gather = min(max(q.Gather, 0), MaxGather)
	q.Window = min(max(q.Window, MinWindow), MaxWindow)
}

// Receipt says to a node up to which item an operator has read its answers.
type Receipt struct {
	ID    string `json:"id"` // of the question
	Items uint64 `json:"items"`
}

// Answer is a message of a node about a question. The items of a node are
// numbered, so that those that are missing are seen.
type Answer struct {
	Name    string `json:"name"`              // of the node's host
	Items   uint64 `json:"items"`             // the number of the last of these, from 1
	Count   uint64 `json:"count,omitempty"`   // of these; a loss among them counts as many as it stands for
	Dropped uint64 `json:"dropped,omitempty"` // that the node has dropped so far
	Began   int64  `json:"began,omitempty"`   // when the node began to answer, in ns: another one numbers its items anew
	Error   string `json:"error,omitempty"`   // why there are none, and no more answers

	// Lines are the items, as in a recording. The first answer has the start alone:
	// from then on they are complete.
	Lines []json.RawMessage `json:"lines,omitempty"`
}
