// Package label has the labels that the stock module label keeps for processes:
// as people write them, and as the module's map holds them.
package label

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Module is the name of the module, and Map that of its map, whose keys are
// process ids.
const (
	Module = "label"
	Map    = "labels"
)

// Size is how many bytes a label has.
const Size = 16

// The forms of a label.
const (
	text = 1 // with zeros behind it
	id   = 2 // 16 bytes, which people write as 32 hexadecimal digits
)

// Label is the label of a process, in the layout of the module's map. The zero
// value is none. Labels can be compared.
type Label struct {
	Bytes [Size]byte
	Form  uint32
}

// allowed are the characters of a text, besides letters and digits: none that has
// a meaning in JSON, in a shell or in a list.
const allowed = "-_.:/@+="

// Parse reads a label: 32 hexadecimal digits, or text of at most 16 letters,
// digits and characters of -_.:/@+=.
func Parse(s string) (l Label, err error) {
	if len(s) == 2*Size {
		if b, err := hex.DecodeString(s); err == nil {
			l.Form = id
			copy(l.Bytes[:], b)
			if l.Bytes == [Size]byte{} {
				return Label{}, fmt.Errorf("label %q: an id of zeros is none; give another", s)
			}
			return l, nil
		}
	}
	switch bad := strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(allowed, r)
	}); {
	case s == "":
		return Label{}, errors.New("the label is empty; give text, or 32 hexadecimal digits")
	case bad >= 0:
		return Label{}, fmt.Errorf("label %q: the character at byte %d is not allowed; give letters, digits and %s", s, bad, allowed)
	case len(s) > Size:
		return Label{}, fmt.Errorf("label %q has %d bytes; give text of at most %d, or 32 hexadecimal digits", s, len(s), Size)
	}
	l.Form = text
	copy(l.Bytes[:], s)
	return l, nil
}

// String returns the label as [Parse] reads it, or "" for none.
func (l Label) String() string {
	switch l.Form {
	case text:
		return string(bytes.TrimRight(l.Bytes[:], "\x00"))
	case id:
		return hex.EncodeToString(l.Bytes[:])
	}
	return ""
}

// ID returns the 16 bytes of a label that is an id, such as that of a trace, and
// zeros for other labels.
func (l Label) ID() (b [Size]byte) {
	if l.Form == id {
		b = l.Bytes
	}
	return b
}

// jsonLabel is a label as `taskwatch map` has it.
type jsonLabel struct {
	Bytes []int  `json:"bytes"`
	Form  uint32 `json:"form"`
}

// MarshalJSON writes the label as a value of the module's map.
func (l Label) MarshalJSON() ([]byte, error) {
	v := jsonLabel{Form: l.Form}
	for _, b := range l.Bytes {
		v.Bytes = append(v.Bytes, int(b))
	}
	return json.Marshal(v)
}

// UnmarshalJSON reads a value of the module's map.
func (l *Label) UnmarshalJSON(b []byte) error {
	var v jsonLabel
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if len(v.Bytes) != Size || v.Form != text && v.Form != id {
		return fmt.Errorf("%s is no label", b)
	}
	*l = Label{Form: v.Form}
	for i, n := range v.Bytes {
		l.Bytes[i] = byte(n)
	}
	return nil
}
