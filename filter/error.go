package filter

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"

	"github.com/taskwatch/taskwatch/internal/lazyregexp"
	"github.com/taskwatch/taskwatch/internal/table"
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
		line := []rune(strings.Map(func(r rune) rune {
			if !strconv.IsPrint(r) {
				return ' ' // also tabs, so that the mark stands where it should
			}
			return r
		}, lines[e.Line-1]))
		at := max(0, min(e.Column, len(line)))
		before, after := string(line[max(0, at-around):at]), string(line[at:min(len(line), at+around)])
		if at > around {
			before = table.CutMark + before
		}
		if len(line) > at+around {
			after += table.CutMark
		}
		fmt.Fprintf(&b, "\n  %s%s\n  %s^", before, after, strings.Repeat(" ", table.Width(before)))
	}
	return b.String()
}

// around is how many characters of a long line are shown on each side of a
// mistake.
const around = 60

var (
	undeclared = lazyregexp.New(`^undeclared reference to '([^']*)'`)
	noField    = lazyregexp.New(`^undefined field '([^']*)'`)
	noOverload = lazyregexp.New(`^found no matching overload for '([^']*)' applied to '(.*)'`)
	noSelect   = lazyregexp.New(`^type '([^']*)' does not support field selection`)
	badLiteral = lazyregexp.New(`^invalid (duration|timestamp|matches) argument`)
	mixed      = lazyregexp.New(`^expected type '([^']*)' but found '([^']*)'`)
	ownType    = lazyregexp.New(`taskwatch\.(\w+)`)
)

// NewError returns an Error for the first of cel's errors. It is for packages that read
// expressions over something else, too.
func NewError(expr string, iss *cel.Issues) *Error {
	first := iss.Errors()[0]
	e := &Error{Expr: expr, Message: first.Message, Line: first.Location.Line(), Column: first.Location.Column()}
	switch m := first.Message; {
	case undeclared.MatchString(m):
		e.undeclared(undeclared.FindStringSubmatch(m)[1])
	case noField.MatchString(m):
		name := noField.FindStringSubmatch(m)[1]
		e.Message = fmt.Sprintf("there is no field %q here", name)
		owner := ownerOf(expr, e)
		switch e.Hint = near(name, fieldsNear(owner)); {
		case e.Hint != "" || owner == nil:
		case owner == eventClass:
			e.Hint = "'taskwatch help filter' lists the names"
		default:
			e.Hint = "there are " + strings.Join(owner.names, ", ")
		}
	case noOverload.MatchString(m):
		found := noOverload.FindStringSubmatch(m)
		e.Message, e.Hint = overload(found[1], found[2])
	case noSelect.MatchString(m):
		of := typeName(noSelect.FindStringSubmatch(m)[1])
		switch e.Message = "what is " + withArticle(of) + " has no fields"; {
		case of == "list(int)":
			e.Hint = "real, effective and saved id, and that for files, are old[0] to old[3], uids[0] to uids[3]"
		case strings.HasPrefix(of, "list("):
			e.Hint = "ask the list: " + forms["exists"] + ", " + forms["size"]
		}
	case badLiteral.MatchString(m):
		e.badLiteral(badLiteral.FindStringSubmatch(m)[1])
	case mixed.MatchString(m):
		types := mixed.FindStringSubmatch(m)
		e.Message = fmt.Sprintf("a list has values of one type, and not %s and %s", withArticle(typeName(types[1])), withArticle(typeName(types[2])))
		e.Hint = "a number stands without quotes, a text in quotes"
	case strings.HasPrefix(m, "invalid argument to has() macro"):
		e.Message, e.Hint = "has() asks whether an event has a field", "write "+forms["has"]
	case strings.Contains(m, "recursion depth") || strings.Contains(m, "recursion limit"):
		e.Message, e.Hint = "it is nested too deeply", "leave out parentheses and ! that are not needed"
	case strings.HasPrefix(m, "invalid int literal"):
		e.Message, e.Hint = "this number is too large", "numbers end with 9223372036854775807"
	case strings.HasPrefix(m, "Syntax error"):
		e.Message = "it is not an expression: " + unexpected(strings.TrimPrefix(m, "Syntax error: "))
		e.Hint = syntaxHint(m, expr)
	case tooLong.MatchString(m):
		sizes := tooLong.FindStringSubmatch(m)
		e.Message, e.Line = fmt.Sprintf("it has %s characters, of %s at most", sizes[1], sizes[2]), 0
	}
	return e
}

var (
	tooLong = lazyregexp.New(`^expression code point size exceeds limit: size: (\d+), limit (\d+)`)
	parser  = lazyregexp.New(`^(?:mismatched input|extraneous input|no viable alternative at input|token recognition error at:) '(.*?)'(?: expecting .*)?$`)
	lacking = lazyregexp.New(`^missing '(.*)' at '(.*)'$`)
)

// unexpected says in plain words what the parser says.
func unexpected(message string) string {
	const end = "<EOF>"
	if m := lacking.FindStringSubmatch(message); m != nil {
		if m[2] == end {
			return m[1] + " is missing at its end"
		}
		return m[1] + " is missing before " + strings.TrimSpace(m[2])
	}
	m := parser.FindStringSubmatch(message)
	switch {
	case m == nil:
		return message
	case m[1] == end:
		return "it ends too early"
	}
	return strings.TrimSpace(m[1]) + " is not understood here"
}

// fieldsNear returns the fields of a class, or those of all parts of an event
// where the class is not known.
func fieldsNear(owner *class) (all []string) {
	if owner != nil {
		return owner.names
	}
	for _, c := range append(slices.Clone(parts), processClass) {
		all = append(all, c.names...)
	}
	return all
}

// functions are those of CEL that an expression about events may need.
var functions = []string{"startsWith", "endsWith", "contains", "matches", "size", "exists", "exists_one", "all", "filter", "map", "has", "duration", "timestamp", "tree", "string", "int"}

// forms are how functions are written.
var forms = map[string]string{
	"startsWith": `exe.startsWith("/usr/")`, "endsWith": `exe.endsWith("/cc1")`, "contains": `args.contains("--force")`, "matches": `comm.matches("^ssh")`,
	"size": "size(argv)", "exists": `argv.exists(a, a == "x")`, "exists_one": `argv.exists_one(a, a == "x")`, "all": `argv.all(a, a != "x")`,
	"filter": `size(argv.filter(a, a == "x"))`, "map": `argv.map(a, size(a))`, "has": "has(exit.code)", "tree": "tree(4711)",
	"duration": `duration("1.5s")`, "timestamp": `timestamp("2026-11-23T16:30:49Z")`,
}

// elsewhere are the names that functions have in other languages.
var elsewhere = map[string]string{"len": "size", "length": "size", "count": "size", "any": "exists", "some": "exists", "every": "all", "regex": "matches", "regexp": "matches", "like": "matches", "includes": "contains", "defined": "has", "exists_all": "all"}

// badLiteral says what a text should have been.
func (e *Error) badLiteral(function string) {
	switch function {
	case "duration":
		e.Message, e.Hint = "this is not a duration", `write hours, minutes, seconds, or ms, us, ns, each with its unit: duration("1h30m"), duration("1.5s")`
	case "timestamp":
		e.Message, e.Hint = "this is not a time", "write date, time and zone: "+forms["timestamp"]
	default:
		e.Message, e.Hint = "this is not a regular expression", `a special character stands for itself behind two backslashes: exe.matches("\\.so$"); contains() compares without`
	}
}

// undeclared says that a variable or a function does not exist.
func (e *Error) undeclared(name string) {
	e.Message = fmt.Sprintf("there is no %q", name)
	known, inside, isCall := eventClass.names, inParts(name), false
	if before := []rune(e.before()); strings.HasSuffix(string(before), name) { // the place of a call is its parenthesis
		e.Column = len(before) - utf8.RuneCountInString(name)
		e.Message = fmt.Sprintf("there is no function %q", name)
		known, inside, isCall = functions, nil, true
	}
	e.Hint = near(name, known)
	if inside != nil {
		e.Hint = didYouMean(inside)
	}
	if e.Hint != "" && comparison.MatchString(e.before()) {
		e.Hint += " A text stands in quotes"
	}
	if meant := elsewhere[strings.ToLower(name)]; meant != "" && isCall {
		e.Hint = "write " + forms[meant]
	}
	switch form := forms[name]; {
	case slices.Contains(kindNames(), name):
		e.Hint = fmt.Sprintf("a text stands in quotes: kind == %q", name)
	case form != "": // it exists, but takes something else
		e.Message, e.Hint = fmt.Sprintf("%s is written differently", name), "write "+form
	}
	if e.Hint == "" {
		e.Hint = "'taskwatch help filter' lists the names; a text stands in quotes"
	}
}

// syntaxHint explains CEL's syntax to people who know other languages.
func syntaxHint(message, expr string) string {
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool {
			return strings.Contains(message, "'"+w+"'") || strings.Contains(message, "error at: '"+w)
		})
	}
	switch {
	case says("and", "AND", "& "):
		return "that both are true is &&"
	case says("or", "OR", "| "):
		return "that one of two is true is ||"
	case says("not", "NOT") || strings.HasPrefix(strings.ToLower(strings.TrimSpace(expr)), "not "):
		return "to negate is !: !(uid == 0)"
	case says("like", "LIKE", "~", "=~"):
		return "to compare with a pattern is matches: comm.matches(\"^ssh\")"
	case says("\"", "''") || strings.Contains(message, "error at: ''"):
		return "a quote is not closed"
	case strings.Contains(expr, "<>"):
		return "that two differ is !="
	case says("=", "= ", "is", "IS"):
		return "to compare is =="
	}
	return ""
}

// line returns the line of the error.
func (e *Error) line() string {
	lines := strings.Split(e.Expr, "\n")
	if e.Line < 1 || e.Line > len(lines) {
		return ""
	}
	return lines[e.Line-1]
}

// before returns the text before the error in its line.
func (e *Error) before() string {
	line := []rune(e.line())
	return string(line[:max(0, min(e.Column, len(line)))])
}

var (
	// comparison is what stands before a value.
	comparison = lazyregexp.New(`(?:[=!<>]=|[<>]|\bin|[\[,])\s*$`)

	lastName = lazyregexp.New(`(\w+)\s*$`)
	hasName  = lazyregexp.New(`\bhas\s*\(?\s*$`)
	ofName   = lazyregexp.New(`^\(?\s*(\w+)\s*\.`)
)

// ownerOf returns the class of what stands before the place of an error, or
// nil.
func ownerOf(expr string, e *Error) *class {
	before := e.before()
	m := lastName.FindStringSubmatch(before)
	if hasName.MatchString(before) { // the place of has() is its parenthesis
		if m = ofName.FindStringSubmatch(strings.TrimPrefix(e.line(), before)); m == nil {
			return eventClass
		}
	}
	if m == nil {
		return nil
	}
	if each := regexp.MustCompile(`\bancestors\s*\.\s*\w+\(\s*` + regexp.QuoteMeta(m[1]) + `\s*,`); each.MatchString(expr) {
		return processClass
	}
	if eventClass.fields[m[1]] == nil {
		return nil
	}
	return classes[eventClass.fields[m[1]].typ.TypeName()]
}

// overload says what cannot be done with which types.
func overload(function, types string) (message, hint string) {
	args := arguments(types)
	switch function {
	case "@count":
		function = "size"
	case sameName:
		function = operators.Equals
	case differName:
		function = operators.NotEquals
	case joinedName:
		function = operators.Add
	}
	if function == "tree" {
		return "tree() is about the number of one process", "write tree(4711)"
	}
	if function == operators.Index && len(args) == 2 {
		message = fmt.Sprintf("what is %s is not indexed by %s", withArticle(args[0]), withArticle(args[1]))
		if args[0] == "list(string)" {
			hint = "ask the list: env.exists(v, v.startsWith(\"HOME=\"))"
		}
		return message, hint
	}
	if op, ok := operators.FindReverseBinaryOperator(function); ok && len(args) == 2 {
		message = fmt.Sprintf("%s cannot be between %s and %s", op, args[0], args[1])
	} else if op, ok := operators.FindReverse(function); ok {
		message = fmt.Sprintf("%s cannot be applied to %s", op, strings.Join(args, " and "))
	} else {
		message = fmt.Sprintf("%s() cannot be applied to %s", function, strings.Join(args, ", "))
	}
	switch {
	case slices.ContainsFunc(args, func(t string) bool { return t == "process" || t == "list(process)" }):
		hint = "compare a field of it: parent.pid, parent.exe, parent.comm, parent.argv"
	case len(args) == 2 && slices.Contains(args, "list(string)") && slices.Contains(args, "string"):
		hint = `write "x" in argv`
	case function == operators.In && len(args) == 2 && args[0] == "string" && args[1] == "string":
		hint = `write exe.contains("x"), or user in ["x", "y"]`
	case function == operators.LogicalNot && len(args) == 1:
		hint = "compare it with something"
	case len(args) == 2 && partNamed(args[0]) != nil:
		hint = "compare a field of it: " + partNamed(args[0]).someFields()
	case slices.Contains(args, "string") && slices.Contains(args, "int"):
		hint = "a number stands without quotes, a name in quotes: uid == 0, user == \"root\""
	case slices.Contains(args, "duration"):
		hint = "a duration is written duration(\"1.5s\")"
	case slices.Contains(args, "timestamp"):
		hint = "a time is written timestamp(\"2026-11-23T16:30:49Z\")"
	case slices.Contains(args, "int") && (slices.Contains(args, "double") || slices.Contains(args, "uint")):
		hint = "write whole numbers: 1500000, and not 1.5e6 or 1500000u"
	case forms[function] != "":
		hint = "write " + forms[function]
	}
	return message, hint
}

// partNamed returns the part of an event whose type is called so in short, or nil.
func partNamed(short string) *class {
	for _, c := range parts {
		if typeName(c.name) == short {
			return c
		}
	}
	return nil
}

// someFields returns the first fields of a part, as they are written.
func (c *class) someFields() string {
	var list []string
	for _, name := range c.names[:min(3, len(c.names))] {
		list = append(list, strings.ToLower(strings.TrimPrefix(c.name, "taskwatch."))+"."+name)
	}
	return strings.Join(list, ", ")
}

// arguments returns the types of a call in short: of "int.(string, list(int))",
// which is how cel writes a method's, int, string and list(int).
func arguments(types string) (args []string) {
	if target, rest, method := strings.Cut(types, ".("); method && !strings.ContainsAny(target, "( ") {
		args, types = append(args, typeName(target)), "("+rest
	} else if i := strings.Index(types, ").("); i > 0 && !strings.HasPrefix(types, "(") {
		args, types = append(args, typeName(types[:i+1])), types[i+2:]
	}
	types = strings.TrimSuffix(strings.TrimPrefix(types, "("), ")")
	depth, from := 0, 0
	for i, r := range types {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			args = append(args, typeName(strings.TrimSpace(types[from:i])))
			from = i + 1
		}
	}
	if from < len(types) {
		args = append(args, typeName(strings.TrimSpace(types[from:])))
	}
	return args
}

// withArticle returns a type with its article.
func withArticle(t string) string {
	if strings.HasPrefix(t, "int") || strings.HasPrefix(t, "exit") {
		return "an " + t
	}
	return "a " + t
}

// typeName returns a type in short.
func typeName(t string) string {
	t = ownType.ReplaceAllStringFunc(t, func(s string) string {
		return strings.ToLower(strings.TrimPrefix(s, "taskwatch."))
	})
	t = strings.ReplaceAll(t, "google.protobuf.", "")
	return strings.NewReplacer("Timestamp", "timestamp", "Duration", "duration").Replace(t)
}
