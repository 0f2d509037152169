package fleet

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/taskwatch/taskwatch/module"
)

// Recording is what the hub keeps of the answers to a question. The first two
// fields name it and its question, the next two bound it; the hub states the rest.
type Recording struct {
	Name     string        `json:"name"`
	Question string        `json:"question,omitempty"` // its id
	MaxBytes int64         `json:"max_bytes,omitempty"`
	MaxAge   time.Duration `json:"max_age_ns,omitempty"` // 0 is no bound

	Where   string    `json:"where,omitempty"`
	Select  string    `json:"select,omitempty"`
	Asker   string    `json:"asker,omitempty"` // the name of the client
	Began   time.Time `json:"began,omitzero"`
	Bytes   uint64    `json:"bytes,omitempty"`
	Answers uint64    `json:"answers,omitempty"`
	Nodes   uint64    `json:"nodes,omitempty"` // that have answered
}

// Bounds of recordings. The oldest answers make room for new ones.
const (
	MaxRecordings     = 16
	MinRecordingBytes = 1 << 20
	MaxRecordingBytes = 1 << 30
)

// Check returns an error unless a recording may be begun.
func (r *Recording) Check() error {
	err := module.CheckName(r.Name)
	switch {
	case err != nil:
	case r.MaxBytes < MinRecordingBytes || r.MaxBytes > MaxRecordingBytes:
		err = fmt.Errorf("%d bytes: give %d to %d", r.MaxBytes, MinRecordingBytes, MaxRecordingBytes)
	case r.MaxAge < 0:
		err = fmt.Errorf("it is to keep answers for %v", r.MaxAge)
	}
	if err != nil {
		return fmt.Errorf("recording %.40q: %w", r.Name, err)
	}
	return nil
}

// RecordedAnswer is an answer in a recording.
type RecordedAnswer struct {
	Node   string          `json:"node"` // its key
	Answer json.RawMessage `json:"answer"`
}
