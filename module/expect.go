package module

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Expectation is what a variable of a module, or an entry of a map, is expected to
// be, as a test says it.
type Expectation struct {
	Text string   // as it was given: users[1000].execs=3
	Name string   // of the variable or the map
	Path []string // indices, keys and members, in their order
	Want string   // JSON, or a word
}

// errExpectation says how an expectation is written.
var errExpectation = errors.New("want NAME=VALUE; behind the name of a list or a map comes [INDEX] or [KEY], behind that of a struct .MEMBER")

// ParseExpectation reads NAME=VALUE. The name of a list is followed by [INDEX], that of
// a map by [KEY], that of a struct by .MEMBER. Keys and the value are JSON, or a word.
func ParseExpectation(text string) (Expectation, error) {
	e := Expectation{Text: text}
	fail := func() (Expectation, error) { return e, fmt.Errorf("%q: %w", text, errExpectation) }
	end := strings.IndexAny(text, ".[=")
	if end <= 0 {
		return fail()
	}
	e.Name = text[:end]
	for rest := text[end:]; ; {
		var part string
		switch {
		case rest == "":
			return fail()
		case rest[0] == '=':
			e.Want = rest[1:]
			return e, nil
		case rest[0] == '.':
			n := strings.IndexAny(rest[1:], ".[=")
			if n <= 0 {
				return fail()
			}
			part, rest = rest[1:n+1], rest[n+1:]
		case rest[0] == '[':
			n := keyLength(rest[1:])
			if n <= 0 || n+1 >= len(rest) || rest[n+1] != ']' {
				return fail()
			}
			part, rest = rest[1:n+1], rest[n+2:]
		default:
			return fail()
		}
		e.Path = append(e.Path, part)
	}
}

// keyLength returns how long the key is that a text begins with.
func keyLength(text string) int {
	if text == "" || !strings.ContainsRune(`"{[`, rune(text[0])) {
		return strings.IndexByte(text, ']')
	}
	d := json.NewDecoder(strings.NewReader(text))
	if d.Decode(new(any)) != nil {
		return -1
	}
	return int(d.InputOffset())
}

// Find goes on from a value, which is as that of a [Global], along a path.
func Find(value any, path []string) (any, error) {
	for _, step := range path {
		switch v := value.(type) {
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil, fmt.Errorf("there is no [%s] in a list of %d", step, len(v))
			}
			value = v[i]
		case map[string]any:
			member, ok := v[step]
			if !ok {
				return nil, fmt.Errorf("there is no member %q; it has %s", step, strings.Join(slices.Sorted(maps.Keys(v)), ", "))
			}
			value = member
		default:
			return nil, fmt.Errorf("%s is neither a list nor a struct, and has no %q", Compact(value), step)
		}
	}
	return value, nil
}

// Met reports whether a value is the one that is expected.
func (e *Expectation) Met(value any) bool {
	if s, ok := value.(string); ok && s == e.Want {
		return true
	}
	d := json.NewDecoder(strings.NewReader(e.Want))
	d.UseNumber()
	var want any
	if d.Decode(&want) != nil || d.More() {
		return false
	}
	return Compact(want) == Compact(value)
}

// Compact returns a value as JSON without spaces.
func Compact(value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(b)
}
