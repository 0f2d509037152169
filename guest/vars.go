package guest

import "unsafe"

// variable is a variable or parameter that the host may read or write.
type variable struct {
	name, help string
	typ        uint32
	param      bool
	address    unsafe.Pointer
	count      int // elements
}

// The types of variables, as the host numbers them.
const (
	typeU64  = 4
	typeS64  = 8
	typeBool = 9
	typeChar = 10 // count bytes are a string
)

// variables are all of them.
var variables []variable

// Uint64 makes a parameter, which the user may set when the module is loaded
// (-m rule.wasm,name=value) and which keeps its value from then on. Call it, as
// all functions that make parameters and variables, where package variables are
// declared; the host rejects a module with two of one name.
func Uint64(name string, value uint64, help string) *uint64 {
	return add(name, help, typeU64, true, value)
}

// Int64 is [Uint64] with a sign.
func Int64(name string, value int64, help string) *int64 {
	return add(name, help, typeS64, true, value)
}

// Bool makes a parameter that is true or false.
func Bool(name string, value bool, help string) *bool {
	return add(name, help, typeBool, true, value)
}

// String makes a parameter that is a string of less than size bytes. It panics
// if value is not.
func String(name string, size int, value, help string) *Text {
	if len(value) >= size {
		panic("guest: parameter " + name + ": its value has no room")
	}
	t := &Text{make([]byte, size)}
	copy(t.bytes, value)
	variables = append(variables, variable{name, help, typeChar, true, unsafe.Pointer(&t.bytes[0]), size})
	return t
}

// Uint64s makes a parameter that is a list of at most room numbers, room > 1:
// the user gives it as name=1:2:3. Without that it is empty.
func Uint64s(name string, room int, help string) *List {
	l := &List{values: make([]uint64, room)}
	variables = append(variables, variable{name, help, typeU64, true, unsafe.Pointer(&l.values[0]), room})
	l.count = add[uint64](name+"_count", "", typeU64, true, 0)
	return l
}

// List is the value of a parameter made by [Uint64s].
type List struct {
	values []uint64
	count  *uint64
}

// Values returns the numbers, which are not to be changed. It allocates
// nothing.
func (l *List) Values() []uint64 { return l.values[:*l.count] }

// Text is the value of a parameter made by [String].
type Text struct{ bytes []byte } // ends with a NUL

// String returns the value. It allocates nothing.
func (t *Text) String() string {
	n := 0
	for t.bytes[n] != 0 {
		n++
	}
	return unsafe.String(&t.bytes[0], n)
}

// Counter makes a variable that can be read by its name from outside while the
// module is loaded.
func Counter(name, help string) *uint64 {
	return add[uint64](name, help, typeU64, false, 0)
}

// Gauge is [Counter] for what may be negative.
func Gauge(name, help string) *int64 {
	return add[int64](name, help, typeS64, false, 0)
}

// Counters makes n counters that have one name, n > 0.
func Counters(name, help string, n int) []uint64 {
	list := make([]uint64, n)
	variables = append(variables, variable{name, help, typeU64, false, unsafe.Pointer(&list[0]), n})
	return list
}

func add[T any](name, help string, typ uint32, param bool, value T) *T {
	v := new(T)
	*v = value
	variables = append(variables, variable{name, help, typ, param, unsafe.Pointer(v), 1})
	return v
}
