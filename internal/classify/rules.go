package classify

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch/internal/names"
)

// Module is the name of the module, and Map that of its map with the rules.
const (
	Module = "classify"
	Map    = "rules"

	// StopParam is the parameter with which the module stops processes that are to
	// be moved.
	StopParam = "stop"
)

// Sizes of the module's arrays.
const (
	maxEntries = 256
	pathLen    = 64
	nameLen    = 16
)

// rule is a line of a file of rules: the first one that matches a process holds.
type rule struct {
	Line        int
	Who         string // a user, @GROUP or *
	Process     string // a name or an absolute path, which may end with *; "" for all
	Destination string // with the placeholders as they stand in the file

	entries []mapEntry
}

// Rules are the rules of a file, in their order.
type Rules []*rule

// Who a rule is about: see WHO_* of modules/classify/classify.c.
const (
	whoAll   = 1
	whoUser  = 2
	whoGroup = 3
)

// mapEntry is an entry of the module's map.
type mapEntry struct {
	Who      uint32   `json:"who"`
	ID       uint32   `json:"id"`
	Number   uint32   `json:"number"`
	Reserved uint32   `json:"reserved"`
	Path     []uint64 `json:"path"`
	PathMask []uint64 `json:"path_mask"`
	Name     []uint64 `json:"name"`
	NameMask []uint64 `json:"name_mask"`
}

// accounts looks up users and groups.
type accounts interface {
	// User returns the id of a user.
	User(name string) (uint32, error)

	// Group returns the id of a group, and the ids of the users who are its
	// members.
	Group(name string) (gid uint32, members []uint32, err error)
}

// Parse reads rules: lines "USER[:PROCESS] CONTROLLERS DESTINATION". In the
// unified hierarchy all controllers have one tree, so they are not looked at.
// Users and groups are those of this machine.
func Parse(r io.Reader) (Rules, error) { return parse(r, host{}) }

func parse(r io.Reader, known accounts) (Rules, error) {
	var rules Rules
	n, entries := 0, 0
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		n++
		words, err := split(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 {
			return nil, fmt.Errorf("line %d: it has %d words; give USER[:PROCESS], controllers (*) and a destination", n, len(words))
		}
		next := &rule{Line: n, Destination: words[2]}
		next.Who, next.Process, _ = strings.Cut(words[0], ":")
		if err := next.resolve(known, uint32(len(rules)+1)); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if entries += len(next.entries); entries > maxEntries {
			return nil, fmt.Errorf("line %d: there are more than %d rules, where each member of a group counts as one; leave some out", n, maxEntries)
		}
		rules = append(rules, next)
	}
	return rules, lines.Err()
}

// split splits a line into words, which quotes may hold together.
func split(line string) (words []string, err error) {
	var word strings.Builder
	open, quoted := false, false
	for _, c := range line {
		switch {
		case c == '"':
			open, quoted = true, !quoted
		case quoted:
			word.WriteRune(c)
		case c == '#' && !open:
			return words, nil
		case c == ' ' || c == '\t':
			if open {
				words, open = append(words, word.String()), false
				word.Reset()
			}
		default:
			open = true
			word.WriteRune(c)
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote has no end")
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}

// resolve makes the entries of a rule.
func (r *rule) resolve(known accounts, number uint32) error {
	all := mapEntry{Who: whoAll, Number: number}
	if err := r.match(&all); err != nil {
		return err
	}
	if _, err := r.expand(process{Name: "p"}); err != nil {
		return err
	}
	add := func(who, id uint32) {
		e := all
		e.Who, e.ID = who, id
		r.entries = append(r.entries, e)
	}
	switch {
	case r.Who == "*":
		r.entries = []mapEntry{all}
	case r.Who == "%":
		return fmt.Errorf("%% (the same as above, for another hierarchy) has no meaning in the unified one; leave the line out")
	case strings.HasPrefix(r.Who, "@"):
		gid, members, err := known.Group(r.Who[1:])
		if err != nil {
			return err
		}
		add(whoGroup, gid)
		for _, uid := range members {
			add(whoUser, uid)
		}
	default:
		uid, err := known.User(r.Who)
		if err != nil {
			return err
		}
		add(whoUser, uid)
	}
	return nil
}

// match sets what the entries of a rule compare.
func (r *rule) match(e *mapEntry) error {
	text, begins := strings.CutSuffix(r.Process, "*")
	e.Path, e.PathMask = make([]uint64, pathLen/8), make([]uint64, pathLen/8)
	e.Name, e.NameMask = make([]uint64, nameLen/8), make([]uint64, nameLen/8)
	switch {
	case r.Process == "":
		return nil
	case strings.HasPrefix(text, "/"):
		if len(text) >= pathLen {
			return fmt.Errorf("process %q: a path may have %d bytes; end it with * before that, or give the name alone", r.Process, pathLen-1)
		}
		if path.Clean(text) != text && !begins {
			return fmt.Errorf("process %q: the path of a program has no dots and double slashes; give %q", r.Process, path.Clean(text))
		}
		fill(e.Path, e.PathMask, text, begins)
	case strings.Contains(text, "/"):
		return fmt.Errorf("process %q: give an absolute path or a name", r.Process)
	default:
		fill(e.Name, e.NameMask, text[:min(len(text), nameLen-1)], begins) // the kernel cuts names
	}
	return nil
}

// fill sets words to a text, and the mask to the bytes that matter: with the NUL
// behind the text, unless others may follow.
func fill(words, mask []uint64, text string, begins bool) {
	b, m := make([]byte, 8*len(words)), make([]byte, 8*len(words))
	copy(b, text)
	n := len(text) + 1
	if begins {
		n--
	}
	for i := range n {
		m[i] = 0xff
	}
	for i := range words {
		words[i], mask[i] = binary.NativeEndian.Uint64(b[8*i:]), binary.NativeEndian.Uint64(m[8*i:])
	}
}

// Entries returns the first entries of the module's map, as lines of JSON.
func (rs Rules) Entries() ([]byte, error) { return rs.entries(0) }

// entries returns the entries of rules that come behind so many others.
func (rs Rules) entries(behind int) ([]byte, error) {
	var b []byte
	i := 0
	for _, r := range rs {
		for _, e := range r.entries {
			e.Number += uint32(behind)
			line, err := json.Marshal(struct {
				Key   int      `json:"key"`
				Value mapEntry `json:"value"`
			}{i, e})
			if err != nil {
				return nil, err
			}
			b = append(append(b, line...), '\n')
			i++
		}
	}
	return b, nil
}

// process is what a destination's placeholders are about.
type process struct {
	PID      int
	UID, GID uint32 // effective
	Name     string
}

// expand returns the destination for a process, absolute below the root.
func (r *rule) expand(p process) (string, error) {
	var b strings.Builder
	for i := 0; i < len(r.Destination); i++ {
		c := r.Destination[i]
		switch {
		case c == '\\' && i+1 < len(r.Destination):
			i++
			b.WriteByte(r.Destination[i])
			continue
		case c != '%':
			b.WriteByte(c)
			continue
		case i+1 == len(r.Destination):
			return "", fmt.Errorf("destination %q: a %% stands at its end; write \\%%", r.Destination)
		}
		i++
		text := ""
		switch r.Destination[i] {
		case 'u':
			text = names.Host.User.Of(p.UID)
		case 'U':
			text = strconv.FormatUint(uint64(p.UID), 10)
		case 'g':
			text = names.Host.Group.Of(p.GID)
		case 'G':
			text = strconv.FormatUint(uint64(p.GID), 10)
		case 'p':
			text = p.Name
		case 'P':
			text = strconv.Itoa(p.PID)
		default:
			return "", fmt.Errorf("destination %q: %%%c is unknown; choose %%u, %%U, %%g, %%G, %%p or %%P", r.Destination, r.Destination[i])
		}
		b.WriteString(strings.ReplaceAll(text, "/", "_")) // a name is one component
	}
	for _, part := range strings.Split(b.String(), "/") {
		if part == ".." || part == "." {
			return "", fmt.Errorf("destination %q leads out of its place, or nowhere; leave the dots out", b.String())
		}
	}
	return path.Clean("/" + b.String()), nil
}
