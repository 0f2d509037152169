package machine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

const maxMap = 64 << 20 // bytes of an array

// Map is a map of the object.
type Map struct {
	name   string
	spec   *ebpf.MapSpec
	memory *Memory
	handle *Region            // whose address stands for the map
	array  *Region            // of an array: all its values
	values map[string]*Region // of the others, by key; of task storage, by the task's address
}

// AddMap makes a map, with the content that its specification has. Kinds that cannot
// be simulated are an UnsupportedError.
func (m *Machine) AddMap(name string, spec *ebpf.MapSpec) (*Map, error) {
	mp := &Map{name: name, spec: spec, memory: &m.Memory, values: map[string]*Region{}}
	switch {
	case (spec.Type == ebpf.Array || spec.Type == ebpf.PerCPUArray) && spec.KeySize != 4, spec.Type == ebpf.LPMTrie && spec.KeySize < 5:
		return nil, Unsupported("map %s: the kernel has no keys of %d bytes in a map of type %s", name, spec.KeySize, spec.Type)
	}
	switch spec.Type {
	case ebpf.Array, ebpf.PerCPUArray:
		size := uint64(spec.ValueSize) * uint64(spec.MaxEntries)
		if size > maxMap {
			return nil, Unsupported("map %s has %d bytes, and a simulation at most %d", name, size, maxMap)
		}
		mp.array = m.Memory.Add(&Region{Name: "map " + name, Data: make([]byte, size)})
	case ebpf.Hash, ebpf.LRUHash, ebpf.PerCPUHash, ebpf.LRUCPUHash, ebpf.LPMTrie, ebpf.TaskStorage:
	default:
		return nil, Unsupported("map %s is of type %s, which a simulation does not have", name, spec.Type)
	}
	for _, kv := range spec.Contents {
		value, ok := kv.Value.([]byte)
		key, ok2 := kv.Key.(uint32)
		if !ok || !ok2 || mp.array == nil || key != 0 || len(value) > len(mp.array.Data) {
			return nil, fmt.Errorf("map %s: its content cannot be read", name)
		}
		copy(mp.array.Data, value)
	}
	mp.handle = m.Memory.Add(&Region{Name: "map " + name, ReadOnly: true})
	m.maps[name], m.ofMap[mp.handle.Addr()] = mp, mp
	return mp, nil
}

// Spec returns what the map was made from.
func (mp *Map) Spec() *ebpf.MapSpec { return mp.spec }

// Bytes returns all values of an array, which programs may change.
func (mp *Map) Bytes() []byte { return mp.array.Data }

// Lookup returns a value, or nil. The key of task storage is the address of a task.
func (mp *Map) Lookup(key []byte) []byte {
	if r, offset := mp.find(key); r != nil {
		return r.Data[offset : offset+int(mp.spec.ValueSize)]
	}
	return nil
}

// find returns where the value of a key is, or nil.
func (mp *Map) find(key []byte) (*Region, int) {
	switch {
	case mp.array != nil:
		i := uint64(binary.NativeEndian.Uint32(key))
		if i >= uint64(mp.spec.MaxEntries) {
			return nil, 0
		}
		return mp.array, int(i * uint64(mp.spec.ValueSize))
	case mp.spec.Type == ebpf.LPMTrie:
		return mp.longest(key), 0
	}
	return mp.values[string(key)], 0
}

// longest returns the value with the longest prefix of key.
func (mp *Map) longest(key []byte) (best *Region) {
	most := -1
	bits := func(k string) int { return int(binary.NativeEndian.Uint32([]byte(k))) }
	for k, r := range mp.values {
		n := bits(k)
		if n > most && n <= bits(string(key)) && samePrefix(k[4:], string(key[4:]), n) {
			most, best = n, r
		}
	}
	return best
}

func samePrefix(a, b string, n int) bool {
	whole, rest := n/8, n%8
	if whole > len(a) || a[:whole] != b[:whole] {
		return false
	}
	return rest == 0 || whole < len(a) && (a[whole]^b[whole])>>(8-rest) == 0
}

// Update sets a value as bpf_map_update_elem() does, and returns its result.
func (mp *Map) Update(key, value []byte, flags uint64) (unix.Errno, error) {
	var old *Region
	offset := 0
	if mp.spec.Type == ebpf.LPMTrie {
		old = mp.values[string(key)]
	} else {
		old, offset = mp.find(key)
	}
	const noExist, exist = 1, 2
	switch {
	case flags > exist:
		return unix.EINVAL, nil
	case mp.array != nil && old == nil:
		return unix.E2BIG, nil
	case old != nil && flags == noExist:
		return unix.EEXIST, nil
	case old != nil:
		copy(old.Data[offset:], value)
		return 0, nil
	case flags == exist:
		return unix.ENOENT, nil
	case uint64(len(mp.values)) >= uint64(mp.spec.MaxEntries):
		if mp.spec.Type == ebpf.LRUHash || mp.spec.Type == ebpf.LRUCPUHash {
			return 0, Unsupported("map %s is full, and which entry the kernel would drop is not known", mp.name)
		}
		return unix.E2BIG, nil
	}
	mp.add(string(key), value)
	return 0, nil
}

func (mp *Map) add(key string, value []byte) *Region {
	r := mp.memory.Add(&Region{Name: "a value of map " + mp.name, Data: bytes.Clone(value)})
	mp.values[key] = r
	return r
}

// taskKey is the key of a task's value.
func taskKey(task uint64) string { return string(binary.NativeEndian.AppendUint64(nil, task)) }

// TaskValue returns what task storage has of a task, or nil.
func (mp *Map) TaskValue(task uint64) []byte {
	if r := mp.values[taskKey(task)]; r != nil {
		return r.Data
	}
	return nil
}

// DropTask forgets what all task storage has of a task.
func (m *Machine) DropTask(task uint64) {
	for _, mp := range m.maps {
		if mp.spec.Type == ebpf.TaskStorage {
			m.remove(mp, taskKey(task))
		}
	}
}

// remove deletes an entry. Programs that run may still have a pointer to it.
func (m *Machine) remove(mp *Map, key string) bool {
	r := mp.values[key]
	if r == nil {
		return false
	}
	delete(mp.values, key)
	m.gone = append(m.gone, r)
	return true
}

// mapHelper calls a helper for a map.
func (m *Machine) mapHelper(fn asm.BuiltinFunc, a [5]uint64) (uint64, error) {
	mp := m.ofMap[a[0]]
	if mp == nil {
		return 0, Unsupported("it passes what is no map of its own")
	}
	switch fn {
	case asm.FnForEachMapElem:
		return m.forEach(mp, a)
	case asm.FnTaskStorageGet, asm.FnTaskStorageDelete:
		return m.taskStorage(mp, fn, a)
	}
	key, err := m.Text(a[1], int(mp.spec.KeySize))
	if err != nil {
		return 0, err
	}
	switch fn {
	case asm.FnMapLookupElem:
		r, offset := mp.find(key)
		if r == nil {
			return 0, nil
		}
		return r.Addr() + uint64(offset), nil
	case asm.FnMapDeleteElem:
		if mp.array != nil {
			return failure(unix.EINVAL), nil
		}
		if !m.remove(mp, string(key)) {
			return failure(unix.ENOENT), nil
		}
		return 0, nil
	}
	value, err := m.Text(a[2], int(mp.spec.ValueSize))
	if err != nil {
		return 0, err
	}
	errno, err := mp.Update(key, value, a[3])
	if errno != 0 {
		return failure(errno), err
	}
	return 0, err
}

func (m *Machine) taskStorage(mp *Map, fn asm.BuiltinFunc, a [5]uint64) (uint64, error) {
	task := a[1]
	there, lasting := m.host.Task(task)
	switch {
	case task == 0 && fn == asm.FnTaskStorageGet:
		return 0, nil
	case task == 0:
		return failure(unix.EINVAL), nil
	case !there:
		return 0, Unsupported("it wants the storage of what is no task")
	}
	if fn == asm.FnTaskStorageDelete {
		if !m.remove(mp, taskKey(task)) {
			return failure(unix.ENOENT), nil
		}
		return 0, nil
	}
	r := mp.values[taskKey(task)]
	if r != nil || a[3] == 0 {
		if r == nil {
			return 0, nil
		}
		return r.Addr(), nil
	}
	if !lasting {
		return 0, Unsupported("it gives a value in map %s to a task that no event was about", mp.name)
	}
	value := make([]byte, mp.spec.ValueSize)
	if a[2] != 0 {
		var err error
		if value, err = m.Text(a[2], len(value)); err != nil {
			return 0, err
		}
	}
	return mp.add(taskKey(task), value).Addr(), nil
}

// forEach calls a function with the entries of a map. Those of a hash map come in
// the order of their keys; the kernel has no order.
func (m *Machine) forEach(mp *Map, a [5]uint64) (uint64, error) {
	f := m.byAddr[a[1]]
	switch {
	case f == nil:
		return 0, Unsupported("it passes no function of its own to bpf_for_each_map_elem()")
	case a[3] != 0:
		return failure(unix.EINVAL), nil
	case mp.spec.Type == ebpf.TaskStorage || mp.spec.Type == ebpf.LPMTrie:
		return failure(unix.EINVAL), nil
	}
	keys := slices.Sorted(maps.Keys(mp.values))
	n, key := uint64(len(keys)), func(i uint64) []byte { return []byte(keys[i]) }
	if mp.array != nil {
		n, key = uint64(mp.spec.MaxEntries), func(i uint64) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(i)) }
	}
	k := m.Memory.Add(&Region{Name: "a key of map " + mp.name, ReadOnly: true})
	defer m.Memory.Remove(k)
	for i := range n {
		k.Data = key(i)
		r, offset := mp.find(k.Data)
		if r == nil {
			continue // deleted meanwhile
		}
		stop, err := m.enter(f, [5]uint64{a[0], k.Addr(), r.Addr() + uint64(offset), a[2]})
		if err != nil {
			return 0, err
		}
		if stop != 0 {
			return i + 1, nil
		}
	}
	return n, nil
}
