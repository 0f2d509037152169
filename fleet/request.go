package fleet

import (
	"time"

	"github.com/taskwatch/taskwatch/module"
)

// Op is what a request is about.
type Op string

// What clients ask of the hub. Nodes may Desired and Module, readers all but Upload
// and Put, loaders everything.
const (
	Desired Op = "desired" // the entries, by the names of their modules, behind After
	Module  Op = "module"  // a piece of the file with a Digest, at an Offset
	Nodes   Op = "nodes"   // the nodes with what they have reported, behind Revision
	Audit   Op = "audit"   // who has done what, behind Revision
	Upload  Op = "upload"  // store a piece of a file
	Put     Op = "put"     // make an entry the one of its module, where the generation of that is Revision, or Revision is 0

	Record     Op = "record"     // keep the answers to a question of the client: see Recording
	Recordings Op = "recordings" // all of them
	Recorded   Op = "recorded"   // the answers in the Recording, behind Revision
	Forget     Op = "forget"     // remove the Recording; a reader only its own
)

// MayRequest reports whether a role may make such requests.
func (r Role) MayRequest(op Op) bool {
	switch op {
	case Desired, Module:
		return r == Node || r == Reader || r == Loader
	case Nodes, Audit, Record, Recordings, Recorded, Forget:
		return r == Reader || r == Loader
	case Upload, Put:
		return r == Loader
	}
	return false
}

// reads reports whether such requests change nothing at the hub.
func (op Op) reads() bool {
	switch op {
	case Desired, Module, Nodes, Audit, Recordings, Recorded:
		return true
	}
	return false
}

// MaxModule is the size in bytes that the file of a module may have: that of package
// host, which hubs do not have, because it calls the kernel when a program starts.
const MaxModule = 32 << 20

// MaxDesired is how many modules a hub has entries of.
const MaxDesired = 1000

// Bounds of what one loader may have of that: others need places, and every node reads all
// entries once a minute.
const (
	MaxDesiredOfOne      = 500
	MaxDesiredBytesOfOne = 2 << 20
)

// PieceSize is how many bytes of a file, or of a list, go in one message, about.
const PieceSize = 256 << 10

// Request is a message to the hub.
type Request struct {
	Op       Op      `json:"op"`
	After    string  `json:"after,omitempty"`
	Revision uint64  `json:"revision,omitempty"`
	Digest   string  `json:"digest,omitempty"`
	Offset   int     `json:"offset,omitempty"`
	Size     int     `json:"size,omitempty"` // of the whole file
	Data     []byte  `json:"data,omitempty"`
	Entry    *Signed `json:"entry,omitempty"`

	Recording *Recording `json:"recording,omitempty"`
}

// Response is the hub's answer.
type Response struct {
	Error    string      `json:"error,omitempty"`
	Entries  []Stored    `json:"entries,omitempty"`
	Nodes    []NodeState `json:"nodes,omitempty"`
	Audit    []AuditLine `json:"audit,omitempty"`
	Revision uint64      `json:"revision,omitempty"` // of the last of these
	More     bool        `json:"more,omitempty"`     // ask again, behind the last
	Data     []byte      `json:"data,omitempty"`
	Size     int         `json:"size,omitempty"`

	Recordings []Recording      `json:"recordings,omitempty"`
	Recorded   []RecordedAnswer `json:"recorded,omitempty"`
}

// Stored is an entry as the hub keeps it.
type Stored struct {
	Module string `json:"module"`
	Signed Signed `json:"signed"`
}

// Named reports whether a module can be called as the entry says that its own is.
func (s *Stored) Named() bool { return module.CheckName(s.Module) == nil }

// NodeState is a node as the hub knows it.
type NodeState struct {
	Key    string        `json:"key"`
	Report Report        `json:"report"`
	Age    time.Duration `json:"age_ns"` // since its last report, by the clock of the hub
	Up     time.Duration `json:"up_ns"`  // since the hub was started, and began to listen
}

// SilentAfter is how old the last report of a node is that does not answer.
const SilentAfter = 3 * ReportEvery

// ReportEvery is how often a node reports, also where nothing has changed.
const ReportEvery = 10 * time.Second

// Silent reports whether a node has not reported for too long. A hub that was
// started a moment ago cannot know.
func (n *NodeState) Silent() bool { return min(n.Age, n.Up) > SilentAfter }

// AuditLine says who has done what.
type AuditLine struct {
	Time time.Time `json:"time"`
	Who  string    `json:"who"`  // the name or the key of a client, or "hub"
	Role Role      `json:"role"` // of the client
	What string    `json:"what"`
}
