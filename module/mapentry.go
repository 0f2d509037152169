package module

import "errors"

// MaxMapEntries is how many entries of a map are read at most, and MaxMapBytes how
// many bytes of keys and values: as values in Go and in JSON they take many times
// as much.
const (
	MaxMapEntries = 10_000
	MaxMapBytes   = 1 << 20
)

// Errors of maps, to be found with errors.Is.
var (
	ErrNoMap      = errors.New("no such map")
	ErrNoEntry    = errors.New("no such entry")
	ErrUnreadable = errors.New("has no entries that can be read")
	ErrFixed      = errors.New("cannot be changed like this")
	ErrBadEntry   = errors.New("does not fit the map")
)

// MapEntry is an entry of a map. Keys and values are as those of a [Global]; a
// map with a value for each processor has a list of them.
type MapEntry struct{ Key, Value any }

// MapEntries are entries of a map. More says that there are others.
type MapEntries struct {
	List []MapEntry
	More bool
}
