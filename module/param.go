package module

import (
	"fmt"
	"strings"
)

// Param is a module parameter: a global variable that the user may set when
// the module is loaded.
type Param struct {
	Name        string
	Type        string // in the words of the module's language
	Default     any    // as in [Global]
	Description string
}

// Global is the present value of a module's global variable.
type Global struct {
	Name  string
	Type  string // in the words of the module's language
	Param bool
	Value any // int64, uint64, bool, string, []any or map[string]any; other types as hexadecimal
}

// ParseParams reads key=value strings. A key given twice is an error.
func ParseParams(args []string) (map[string]string, error) {
	params := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("parameter %q is not key=value", arg)
		}
		if _, dup := params[key]; dup {
			return nil, fmt.Errorf("parameter %q is given twice", key)
		}
		params[key] = value
	}
	return params, nil
}

// DescribeParams returns the rest of an error about a parameter: what
// parameters there are.
func DescribeParams(params []Param) string {
	var list []string
	for _, p := range params {
		list = append(list, fmt.Sprintf("%s (%s, default %v)", p.Name, p.Type, p.Default))
	}
	if list == nil {
		return "it has no parameters at all"
	}
	return "its parameters are " + strings.Join(list, ", ")
}
