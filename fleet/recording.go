package fleet

import (
	"encoding/json"
	"errors"
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
	var err error
	switch {
	case module.CheckName(r.Name) != nil:
		err = errors.New("a name has 1 to 32 letters, digits, '_' and '-'")
	case r.MaxBytes < MinRecordingBytes || r.MaxBytes > MaxRecordingBytes:
		err = fmt.Errorf("it is to have at most %d bytes: give %d MiB to %d MiB", r.MaxBytes, MinRecordingBytes>>20, MaxRecordingBytes>>20)
	case r.MaxAge < 0:
		err = fmt.Errorf("it is to keep answers for %v: give a time above 0", r.MaxAge)
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
