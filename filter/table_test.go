package filter

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/randevent"
)

// Each field of the table has its name, its type and its value in expressions, is
// unknown where it is missing, and is none of the events of other kinds.
func TestFieldsOfTheTable(t *testing.T) {
	lists := map[taskwatch.Fields]string{taskwatch.FieldUID: "uids", taskwatch.FieldGID: "gids"} // uid is a number
	r := rand.New(rand.NewPCG(1, 2))
	for _, bit := range taskwatch.AllFields.List() {
		info := bit.Info()
		name := info.Name
		if lists[bit] != "" {
			name = lists[bit]
		}
		for k := range taskwatch.Kind(taskwatch.NumKinds) {
			ev := randevent.New(r, k)
			ev.Task.Exe, ev.Task.Argv, ev.Task.ArgvCut = "/bin/ä", []string{"ä", ""}, false
			ev.Extra = randevent.Extra(r, taskwatch.OptionalOf(k), func() string { return "text" })
			ev.Extra.EnvCut = false
			v, there := ev.Value(bit)
			if there != info.Kinds.Has(k) {
				t.Fatalf("%s of %s: there is one: %t", name, k, there)
			}
			want, missing := Yes, Unknown
			if !there {
				want, missing = No, No
			}
			f := parse(t, name+" == "+literal(v, info.Type))
			if got := f.Match(taskwatch.Item{Event: ev}, nil); got != want {
				t.Errorf("%s is %v of %s: %v, want %v", name, v, k, got, want)
			}
			ev.Missing |= bit
			if got := f.Match(taskwatch.Item{Event: ev}, nil); got != missing {
				t.Errorf("%s is missing in %s: %v, want %v", name, k, got, missing)
			}
		}
	}
}

// literal returns a value as an expression has it.
func literal(v taskwatch.Value, typ taskwatch.ValueType) string {
	switch typ {
	case taskwatch.TypeInt:
		return strconv.FormatInt(v.Int(), 10)
	case taskwatch.TypeUint:
		return strconv.FormatInt(int64(v.Uint()), 10)
	case taskwatch.TypeBool:
		return strconv.FormatBool(v.Bool())
	case taskwatch.TypeString:
		return strconv.Quote(v.Text())
	case taskwatch.TypeStrings:
		var list []string
		for _, s := range v.Strings() {
			list = append(list, strconv.Quote(s))
		}
		return "[" + strings.Join(list, ", ") + "]"
	case taskwatch.TypeUints:
		return strings.ReplaceAll(fmt.Sprint(v.Uints()), " ", ", ")
	}
	panic("no literal of a " + typ.String())
}
