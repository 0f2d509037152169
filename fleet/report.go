package fleet

// Report is what a node says of itself.
type Report struct {
	Facts   Facts          `json:"facts"`
	Modules []ModuleReport `json:"modules,omitempty"` // by name
}

// MaxReport is how many bytes a report may have, as JSON.
const MaxReport = 256 << 10

// Facts are what entries select nodes by. A node states them itself.
type Facts struct {
	Name          string            `json:"name"` // of the host
	Arch          string            `json:"arch"`
	Kernel        string            `json:"kernel"` // its release
	Version       string            `json:"version"`
	Source        string            `json:"source"`
	KernelModules bool              `json:"kernel_modules"`
	Labels        map[string]string `json:"labels,omitempty"`
}

// State is what became of an entry at a node.
type State string

// The states.
const (
	Running  State = "running"
	Failed   State = "failed"   // the reason says why; an earlier version may run
	Rejected State = "refused"  // the entry was not accepted, and nothing changed
	Fetching State = "fetching" // the file is on its way from a registry; an earlier version may run
	Waiting  State = "waiting"  // the rollout has not reached the node
	Lapsed   State = "lapsed"   // nobody has renewed the lease
	Unwanted State = "unwanted" // not selected, or to be absent, and not there
)

// ModuleReport is what became of the last entry of a module at a node.
type ModuleReport struct {
	Module     string `json:"module"`
	Generation uint64 `json:"generation"` // the highest that the node has accepted
	State      State  `json:"state"`
	Reason     string `json:"reason,omitempty"`
	Running    uint64 `json:"running,omitempty"` // the generation that runs; 0 if none does
	Rejected   uint64 `json:"refused,omitempty"` // the generation that the rejected entry says it has
}
