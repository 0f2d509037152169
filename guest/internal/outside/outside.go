// Package outside has the values of tasks and processes that the host may read and set:
// see 'taskwatch map'.
package outside

import (
	"reflect"
	"strconv"
	"strings"
	"unsafe"
)

// Kind is whose values they are, as the host numbers it.
type Kind uint32

const (
	Tasks     Kind = 1
	Processes Kind = 2 // n of an id is that of the process
)

// ID is that of a task.
type ID struct{ Run, N uint64 }

// Map has values of one type under a name.
type Map struct {
	Name string
	Kind Kind
	Size uintptr // of a value
	Type string  // described: see module/internal/cvalue

	Find   func(ID) unsafe.Pointer // nil if there is none
	Renew  func(ID) unsafe.Pointer // makes it zero; nil if there can be none
	Expect func(ID) unsafe.Pointer // Renew, also for a process of which no thread is known yet
	Delete func(ID)
}

// Maps are all of them, in the order of their declaration.
var Maps []Map

// Add adds values of type T. find, create and expect return nil where there is none.
func Add[T any](name string, kind Kind, find, create, expect func(ID) *T, drop func(ID)) {
	t := reflect.TypeFor[T]()
	zero := func(create func(ID) *T) func(ID) unsafe.Pointer {
		return func(id ID) unsafe.Pointer {
			v := create(id)
			if v != nil {
				*v = *new(T)
			}
			return unsafe.Pointer(v)
		}
	}
	Maps = append(Maps, Map{
		Name: name, Kind: kind, Size: t.Size(), Type: string(describe(nil, t, 0)),
		Find:  func(id ID) unsafe.Pointer { return unsafe.Pointer(find(id)) },
		Renew: zero(create), Expect: zero(expect), Delete: drop,
	})
}

const maxNesting = 14

// describe appends the description of a type. What has no meaning outside of the module,
// such as a map, is only named.
func describe(b []byte, t reflect.Type, depth int) []byte {
	bits := strconv.AppendUint(nil, 8*uint64(t.Size()), 10)
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return append(b, "bool"...)
	case k >= reflect.Int && k <= reflect.Int64:
		return append(append(b, 's'), bits...)
	case k == reflect.Float32, k == reflect.Float64:
		return append(append(b, 'f'), bits...)
	case k >= reflect.Uint && k <= reflect.Uint64:
		return append(append(b, 'u'), bits...)
	case k == reflect.Array && t.Size() > 0 && depth < maxNesting:
		b = strconv.AppendInt(append(b, '['), int64(t.Len()), 10)
		return describe(append(b, ']'), t.Elem(), depth+1)
	case k == reflect.Struct && depth < maxNesting:
		name, _, _ := strings.Cut(t.Name(), "[") // of a generic type
		b = append(append(append(b, '{'), name...), ' ')
		b = append(strconv.AppendUint(b, uint64(t.Size()), 10), ';')
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Name == "_" {
				continue
			}
			b = append(append(b, f.Name...), '@')
			b = append(strconv.AppendUint(b, 8*uint64(f.Offset), 10), ' ')
			b = append(describe(b, f.Type, depth+1), ';')
		}
		return append(b, '}')
	}
	b = append(append(append(b, '?'), t.Kind().String()...), ' ')
	return append(strconv.AppendUint(b, uint64(t.Size()), 10), ';')
}
