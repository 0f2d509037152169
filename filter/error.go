package filter

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
)

// Error is a mistake in an expression.
type Error struct {
	Expr    string
	Line    int    // from 1; 0 where the place is the whole
	Column  int    // from 0, in characters
	Message string // what is wrong
	Hint    string // what to do, or ""
}

// Error returns the message, the place and the hint, on several lines.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	if lines := strings.Split(e.Expr, "\n"); e.Line > 0 && e.Line <= len(lines) {
		line := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' ' // also tabs, so that the mark stands where it should
			}
			return r
		}, lines[e.Line-1])
		fmt.Fprintf(&b, "\n  %s\n  %s^", line, strings.Repeat(" ", max(0, min(e.Column, utf8.RuneCountInString(line)))))
	}
	return b.String()
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	noField    = regexp.MustCompile(`^undefined field '([^']*)'`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'`)
	noSelect   = regexp.MustCompile(`^type '([^']*)' does not support field selection`)
	ownType    = regexp.MustCompile(`taskwatch\.(\w+)`)
)

// newError makes an error of the first of cel's.
func newError(expr string, iss *cel.Issues) *Error {
	first := iss.Errors()[0]
	e := &Error{Expr: expr, Message: first.Message, Line: first.Location.Line(), Column: first.Location.Column()}
	switch m := first.Message; {
	case undeclared.MatchString(m):
		name := undeclared.FindStringSubmatch(m)[1]
		e.Message = fmt.Sprintf("there is no %q", name)
		e.Hint = near(name, eventClass.names)
		if e.Hint == "" {
			e.Hint = "'taskwatch help filter' lists the names; a text stands in quotes"
		}
	case noField.MatchString(m):
		name := noField.FindStringSubmatch(m)[1]
		e.Message = fmt.Sprintf("there is no field %q here", name)
		var all []string
		for _, c := range []*class{exitClass, rusageClass, containerClass, processClass} {
			if owner := ownerOf(expr, e); owner == nil || owner == c {
				all = append(all, c.names...)
			}
		}
		e.Hint = near(name, all)
	case noOverload.MatchString(m):
		found := noOverload.FindStringSubmatch(m)
		e.Message, e.Hint = overload(found[1], found[2])
	case noSelect.MatchString(m):
		e.Message = fmt.Sprintf("a %s has no fields", typeName(noSelect.FindStringSubmatch(m)[1]))
	case strings.HasPrefix(m, "Syntax error"):
		e.Message = "it is no expression: " + strings.TrimPrefix(m, "Syntax error: ")
		if strings.Contains(m, "'='") || strings.Contains(expr, "=") && !strings.Contains(expr, "==") && !strings.ContainsAny(expr, "<>!") {
			e.Hint = "to compare is =="
		}
	}
	return e
}

var lastName = regexp.MustCompile(`(\w+)\s*$`)

// ownerOf returns the class of what stands before the place of an error, or
// nil.
func ownerOf(expr string, e *Error) *class {
	lines := strings.Split(expr, "\n")
	if e.Line < 1 || e.Line > len(lines) {
		return nil
	}
	line := []rune(lines[e.Line-1])
	m := lastName.FindStringSubmatch(string(line[:max(0, min(e.Column, len(line)))]))
	if m == nil || eventClass.fields[m[1]] == nil {
		return nil
	}
	return classes[eventClass.fields[m[1]].typ.TypeName()]
}

// overload says what cannot be done with which types.
func overload(function, types string) (message, hint string) {
	args := strings.Split(strings.Trim(types, "()"), ", ")
	for i := range args {
		args[i] = typeName(args[i])
	}
	if op, ok := operators.FindReverseBinaryOperator(function); ok && len(args) == 2 {
		message = fmt.Sprintf("%s cannot be between %s and %s", op, args[0], args[1])
	} else if op, ok := operators.FindReverse(function); ok {
		message = fmt.Sprintf("%s cannot be applied to %s", op, strings.Join(args, " and "))
	} else {
		message = fmt.Sprintf("%s() cannot be applied to %s", function, strings.Join(args, ", "))
	}
	switch {
	case slices.Contains(args, "string") && slices.Contains(args, "int"):
		hint = "a number stands without quotes, a name in quotes: uid == 0, user == \"root\""
	case slices.Contains(args, "duration"):
		hint = "a duration is written duration(\"1.5s\")"
	case slices.Contains(args, "timestamp"):
		hint = "a time is written timestamp(\"2026-11-23T16:30:49Z\")"
	}
	return message, hint
}

// typeName returns a type in short.
func typeName(t string) string {
	t = ownType.ReplaceAllStringFunc(t, func(s string) string {
		return strings.ToLower(strings.TrimPrefix(s, "taskwatch."))
	})
	t = strings.ReplaceAll(t, "google.protobuf.", "")
	return strings.NewReplacer("Timestamp", "timestamp", "Duration", "duration").Replace(t)
}

// near returns a hint with the names that are most like one.
func near(name string, names []string) string {
	best, found := 3, []string(nil)
	if n := utf8.RuneCountInString(name); n < 4 {
		best = 1
	}
	for _, have := range names {
		d := distance(strings.ToLower(name), have)
		switch {
		case d < best:
			best, found = d, []string{have}
		case d == best && len(found) < 3 && !slices.Contains(found, have):
			found = append(found, have)
		}
	}
	if found == nil {
		return ""
	}
	return "did you mean " + strings.Join(found, " or ") + "?"
}

// distance returns how many characters have to be put in, taken out, changed
// or swapped with the next one.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}
