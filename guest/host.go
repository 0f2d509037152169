package guest

import (
	"encoding/json"
	"fmt"
)

// Level is how much a line of the log matters.
type Level uint32

// The levels.
const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarn
	LevelError
)

// Log writes a line to the log of the host. The host drops lines that are too
// many, and counts them.
func Log(level Level, text string) { hostLog(uint32(level), text) }

// Logf is [Log] with a format.
func Logf(level Level, format string, args ...any) { Log(level, fmt.Sprintf(format, args...)) }

// Emit sends a record of the module's own, of at most 64 KiB, to whoever
// listens; there it has the module's name and stands with the current event.
// It may be called by a watcher only. The error is an [Errno]: ENOENT where
// nobody listens, EMSGSIZE where it is too long, EAGAIN where records are too
// many; the host counts those.
func Emit(record []byte) error {
	if errno := hostEmit(record); errno != 0 {
		return Errno(errno)
	}
	return nil
}

// EmitJSON is [Emit] of v in JSON.
func EmitJSON(v any) error {
	record, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return Emit(record)
}
