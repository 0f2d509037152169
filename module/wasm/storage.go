package wasm

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// Map is what a module keeps of each task or process, and lets others read and change.
type Map struct {
	Name, Type         string
	KeySize, ValueSize uint32
	MaxEntries         uint32 // 0 stands for no limit
	Shared             bool   // never
}

// storage is a Map as the module has it.
type storage struct {
	Map
	kind  storageKind
	typ   cvalue.Type
	index uint32 // in the module's table
}

type storageKind uint32

// Whose values they are, as modules number it.
const (
	ofTasks storageKind = 1 + iota
	ofProcesses
)

var storageTypes = map[storageKind]string{ofTasks: "TaskStorage", ofProcesses: "ProcessStorage"}

// The limits of the table.
const (
	maxStorages    = 256
	maxStorageType = 64 << 10
	maxStorageSize = 64 << 10 // of a value
	storageEntry   = 8 * 4
)

// decodeStorages reads the table of count entries at an address.
func decodeStorages(read readMemory, address, count uint32, types described) ([]storage, error) {
	if count > maxStorages {
		return nil, invalid("its table of values has %d entries, but may have only %d", count, maxStorages)
	}
	table, ok := read(address, count*storageEntry)
	if !ok {
		return nil, invalid("its table of values is not in its memory")
	}
	var list []storage
	for i := range count {
		s, err := decodeStorage(read, table[i*storageEntry:], types)
		if err != nil {
			return nil, invalid("entry %d of its table of values: %w", i, err)
		}
		if slices.ContainsFunc(list, func(o storage) bool { return o.Name == s.Name }) {
			return nil, invalid("its table of values has %s twice", s.Name)
		}
		s.index = i
		list = append(list, s)
	}
	return list, nil
}

func decodeStorage(read readMemory, entry []byte, types described) (s storage, err error) {
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(entry[4*i:]) }
	if n := word(1); n > maxVarName {
		return s, fmt.Errorf("a name of %d bytes, but it may have only %d", n, maxVarName)
	}
	name, ok := read(word(0), word(1))
	if !ok || !isIdentifier(string(name)) {
		return s, fmt.Errorf("%q is not a valid name", name)
	}
	s.Name, s.kind = string(name), storageKind(word(2))
	s.Map = Map{Name: s.Name, Type: storageTypes[s.kind], KeySize: 4, ValueSize: word(3), MaxEntries: word(4)}
	switch {
	case s.Type == "":
		return s, fmt.Errorf("%s: unknown kind %d", s.Name, s.kind)
	case s.ValueSize > maxStorageSize:
		return s, fmt.Errorf("%s: a value of %d bytes; it may have %d", s.Name, s.ValueSize, maxStorageSize)
	case word(6) > maxStorageType:
		return s, fmt.Errorf("%s: a type that takes %d bytes to describe; it may take %d", s.Name, word(6), maxStorageType)
	}
	text, ok := read(word(5), word(6))
	if !ok {
		return s, fmt.Errorf("%s: a type that is not in the module's memory", s.Name)
	}
	if len(text) == 0 {
		s.typ, err = types.of(s.Name, s.ValueSize)
	} else {
		s.typ, err = cvalue.ParseType(string(text), int(s.ValueSize))
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", s.Name, err)
	}
	return s, nil
}

// Maps lists the values by name that can be read from outside.
func (o *Object) Maps() (list []Map) {
	for _, s := range o.storages {
		list = append(list, s.Map)
	}
	slices.SortFunc(list, func(a, b Map) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// storage finds the values of a name.
func (o *Object) storage(name string) (*storage, error) {
	i := slices.IndexFunc(o.storages, func(s storage) bool { return s.Name == name })
	if i >= 0 {
		return &o.storages[i], nil
	}
	if _, ok := o.binary.Export(exportMaps); !ok {
		return nil, fmt.Errorf("%w: it was built before values in the sandbox could be read from outside; build it again", module.ErrNoMap)
	}
	var names []string
	for _, m := range o.Maps() {
		names = append(names, m.Name)
	}
	if names == nil {
		return nil, fmt.Errorf("%w; the module has none: in the sandbox, task_storage and process_storage are maps, in Go those of guest/storage that have a name", module.ErrNoMap)
	}
	return nil, fmt.Errorf("%w; the module has %s", module.ErrNoMap, strings.Join(names, ", "))
}
