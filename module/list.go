package module

import (
	"fmt"
	"slices"
	"strings"
)

// CountOf returns the name of the parameter that says how many elements the user
// has given to the list of that name, if the module has it. It is no parameter
// for users.
func CountOf(list string) string { return list + "_count" }

// WriteList puts the numbers that text stands for, 1:2:3, into b, which is an
// array of elements of size bytes, and zeros behind them. It returns how many
// they are: of "" none.
func (i Int) WriteList(b []byte, size int, text string) (n int, err error) {
	clear(b)
	if text == "" {
		return 0, nil
	}
	values := strings.Split(text, ":")
	if room := len(b) / size; len(values) > room {
		return 0, fmt.Errorf("there are %d values, and there is room for %d", len(values), room)
	}
	for n, value := range values {
		if err := i.Write(b[n*size:(n+1)*size], value); err != nil {
			return 0, fmt.Errorf("value %d of the list, %q: %w; a list is written 1:2:3", n+1, value, err)
		}
	}
	return len(values), nil
}

// FoldParams leaves out the counts of lists, and shows of each list what it has.
func FoldParams(list []Param) []Param {
	return fold(list, func(p *Param) (string, *any) { return p.Name, &p.Default })
}

// FoldGlobals is [FoldParams] for the parameters among variables.
func FoldGlobals(list []Global) []Global {
	return fold(list, func(g *Global) (string, *any) {
		if !g.Param {
			return "", nil
		}
		return g.Name, &g.Value
	})
}

func fold[T any](list []T, of func(*T) (name string, value *any)) []T {
	counts := map[string]int{}
	for i := range list {
		if name, value := of(&list[i]); value != nil {
			if n, ok := (*value).(uint64); ok {
				counts[name] = int(min(n, 1<<30))
			}
		}
	}
	folded := map[string]bool{}
	for i := range list {
		name, value := of(&list[i])
		if value == nil {
			continue
		}
		elements, isList := (*value).([]any)
		n, counted := counts[CountOf(name)]
		if isList && counted {
			*value = elements[:min(n, len(elements))]
			folded[CountOf(name)] = true
		}
	}
	return slices.DeleteFunc(list, func(t T) bool {
		name, value := of(&t)
		return value != nil && folded[name]
	})
}
