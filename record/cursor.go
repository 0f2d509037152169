package record

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
)

// cursor reads a line in the form that this package writes: without spaces, the
// members of each object in their order. Most lines are of that form, and a
// parser of any JSON takes several times as long. Where the line is anything
// else, the cursor fails, and whoever uses it leaves the line to that parser:
// it is never wrong, and says nothing of why.
type cursor struct {
	rest   string
	long   bool // strings are copied, so that none keeps the whole line
	first  bool // of an object: the next member has no comma
	failed bool
}

// longLine is what a string may keep beside itself, in bytes.
const longLine = 1 << 10

// newCursor returns a cursor at the beginning of a line, which is valid UTF-8.
func newCursor(line []byte) *cursor {
	return &cursor{rest: string(line), long: len(line) > longLine}
}

// has takes the text if it is next.
func (c *cursor) has(text string) bool {
	if len(c.rest) < len(text) || c.rest[:len(text)] != text {
		return false
	}
	c.rest = c.rest[len(text):]
	return true
}

// key takes the key of a member, as in `"pid":`, if it is next.
func (c *cursor) key(key string) bool {
	if !c.first {
		if len(c.rest) <= len(key) || c.rest[0] != ',' || c.rest[1:len(key)+1] != key {
			return false
		}
		c.rest = c.rest[len(key)+1:]
		return true
	}
	if !c.has(key) {
		return false
	}
	c.first = false
	return true
}

// open takes the key of an object, if it is next, and goes into the object.
func (c *cursor) open(key string) bool {
	if !c.key(key) {
		return false
	}
	c.want("{")
	c.first = true
	return true
}

// close leaves an object.
func (c *cursor) close() {
	c.want("}")
	c.first = false
}

// want takes the text, which has to be next.
func (c *cursor) want(text string) { c.failed = !c.has(text) || c.failed }

// digits takes the digits of a number.
func (c *cursor) digits() (n uint64) {
	i := 0
	for ; i < len(c.rest) && '0' <= c.rest[i] && c.rest[i] <= '9'; i++ {
		n = n*10 + uint64(c.rest[i]-'0')
	}
	// Nineteen digits fit, whatever they are.
	if i == 0 || i > 1 && c.rest[0] == '0' {
		c.failed = true
	} else if i > 19 {
		var err error
		n, err = strconv.ParseUint(c.rest[:i], 10, 64)
		c.failed = c.failed || err != nil
	}
	c.rest = c.rest[i:]
	return n
}

// uint takes a number of so many bits.
func (c *cursor) uint(bits int) uint64 {
	n := c.digits()
	c.failed = c.failed || n>>(bits-1)>>1 != 0
	return n
}

// int takes a number of so many bits, one of them for the sign.
func (c *cursor) int(bits int) int64 {
	minus := c.has("-")
	n := c.digits()
	if minus {
		c.failed = c.failed || n > 1<<(bits-1)
		return -int64(n)
	}
	c.failed = c.failed || n >= 1<<(bits-1)
	return int64(n)
}

func (c *cursor) bool() bool {
	if c.has("true") {
		return true
	}
	c.want("false")
	return false
}

// raw takes a string, without its quotes, and says whether it has an escape.
func (c *cursor) raw() (s string, escaped bool) {
	c.want(`"`)
	for i := 0; i < len(c.rest); i++ {
		switch b := c.rest[i]; {
		case b == '"':
			s, c.rest = c.rest[:i], c.rest[i+1:]
			return s, escaped
		case b == '\\':
			escaped = true
			i++
		case b < ' ':
			c.failed = true
		}
	}
	c.failed = true
	return "", false
}

// word takes a string that needs no escapes.
func (c *cursor) word() string {
	s, escaped := c.raw()
	c.failed = c.failed || escaped
	return s
}

// string takes a string.
func (c *cursor) string() string {
	s, escaped := c.raw()
	if c.long {
		s = strings.Clone(s)
	}
	if escaped {
		quoted := append(append([]byte{'"'}, s...), '"')
		if err := json.Unmarshal(quoted, &s); err != nil {
			c.failed = true
		}
	}
	return decodeString(s)
}

// part goes to the next part of a list, of which n have been taken, and reports
// whether there is one.
func (c *cursor) part(n int) bool {
	switch {
	case n == 0:
		c.want("[")
		return !c.has("]") && !c.failed
	case c.has(","):
		return !c.failed
	}
	c.want("]")
	return false
}

func (c *cursor) strings() []string {
	list := make([]string, 0, 4)
	for n := 0; c.part(n); n++ {
		list = append(list, c.string())
	}
	return list
}

func (c *cursor) uints() []uint32 {
	list := []uint32{}
	for n := 0; c.part(n); n++ {
		list = append(list, uint32(c.uint(32)))
	}
	return list
}

func (c *cursor) ids() (ids taskwatch.IDs) {
	for i := range ids {
		c.want("[,,,"[i : i+1])
		ids[i] = uint32(c.uint(32))
	}
	c.want("]")
	return ids
}

func (c *cursor) mask() uint64 {
	s := c.word()
	n, err := strconv.ParseUint(s, 16, 64)
	c.failed = c.failed || err != nil
	return n
}

func (c *cursor) taskID() taskwatch.TaskID {
	id, err := taskwatch.ParseTaskID(c.word())
	c.failed = c.failed || err != nil
	return id
}

func (c *cursor) time() time.Time {
	t, err := decodeTime(c.word())
	c.failed = c.failed || err != nil
	return t
}

func (c *cursor) cause() taskwatch.Cause {
	cause, err := decodeCause(c.word())
	c.failed = c.failed || err != nil
	return cause
}

// missing takes the fields that are named as missing.
func (c *cursor) missing() (s taskwatch.Fields) {
	if c.key(`"missing":`) {
		for n := 0; c.part(n); n++ {
			f, _ := taskwatch.ParseField(c.word()) // else a newer recorder's
			s |= f
		}
	}
	return s
}

// heads are how lines of events begin.
var heads = func() (list []string) {
	for k := range taskwatch.NumKinds {
		list = append(list, `{"event":"`+taskwatch.Kind(k).String()+`"`)
	}
	return list
}()

// event reads a whole line of an event.
func (c *cursor) event() (ev *taskwatch.Event, ok bool) {
	k := 0
	for ; k < len(heads) && !c.has(heads[k]); k++ {
	}
	if k == len(heads) {
		return nil, false
	}
	ev = &taskwatch.Event{Kind: taskwatch.Kind(k), Task: new(taskwatch.Task)}
	var got taskwatch.Fields
	if c.key(`"val":`) {
		ev.Val = c.uint(64)
		got |= taskwatch.FieldVal
	}
	if c.key(`"seq":`) {
		ev.Seq = c.uint(64)
	}
	if c.key(`"time":`) {
		ev.Time = c.time()
	}
	if c.key(`"mono_ns":`) {
		ev.MonoNS = c.int(64)
	}
	if c.key(`"source":`) {
		ev.Source = c.string()
	}
	if !c.open(`"task":`) || !c.key(`"id":`) {
		return nil, false
	}
	ev.Task.ID = c.taskID()
	got |= c.task(ev.Task)
	var given taskwatch.Fields
	if !c.has("}") {
		ev.Extra = new(taskwatch.Extra)
		given = c.extra(ev.Extra)
		ev.Extra.Given = given
		c.close()
	}
	got |= c.details(ev)
	missing := c.missing()
	c.close()
	want, optional := taskwatch.FieldsOf(ev.Kind), taskwatch.OptionalOf(ev.Kind)
	if c.failed || c.rest != "" && c.rest != "\n" || ev.Task.ID.IsZero() || got&^want != 0 || given&^optional != 0 || (got|given)&missing != 0 {
		return nil, false
	}
	ev.Missing = want&^got | missing&optional
	return ev, true
}

// details reads what only some kinds of event have.
func (c *cursor) details(ev *taskwatch.Event) (got taskwatch.Fields) {
	switch ev.Kind {
	case taskwatch.Exec:
		if c.key(`"old_exe":`) {
			ev.OldExe = c.string()
			got |= taskwatch.FieldOldExe
		}
	case taskwatch.UID, taskwatch.GID:
		if c.open(`"old":`) {
			key := `"uid":`
			if ev.Kind == taskwatch.GID {
				key = `"gid":`
			}
			c.failed = !c.key(key) || c.failed
			ev.OldIDs = c.ids()
			c.close()
			got |= taskwatch.FieldOld
		}
		if c.key(`"cause":`) {
			ev.Cause = c.cause()
			got |= taskwatch.FieldCause
		}
	case taskwatch.Exit:
		if c.open(`"exit":`) {
			got |= c.exit(&ev.Exit)
			c.close()
		}
		if c.open(`"rusage":`) {
			got |= c.rusage(&ev.Rusage)
			c.close()
		}
	case taskwatch.Free:
		if c.key(`"lifetime_ns":`) {
			ev.LifetimeNS = c.int(64)
			got |= taskwatch.FieldLifetime
		}
		ev.Inferred = c.key(`"inferred":true`)
	}
	return got
}
