// Package clean makes text safe for a terminal. Names, descriptions and lines
// of modules, arguments of programs and paths come from strangers, and may
// hold what moves the cursor, changes the title or looks like other output.
// Whatever of that is shown goes through here.
package clean

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Word returns s as one word of a shell: as it is where that is safe, else
// in single quotes, else, where something does not print, as $'...' with
// escapes, which bash, zsh and ksh read back to the same bytes.
func Word(s string) string {
	switch {
	case s == "":
		return "''"
	case !Prints(s):
		return "$'" + escape(s, true) + "'"
	case strings.IndexFunc(s, needsQuotes) >= 0, s[0] == '=': // zsh takes =x for the path of x
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// Text returns s with everything escaped that does not print, newlines
// included.
func Text(s string) string {
	if Prints(s) {
		return s
	}
	return escape(s, false)
}

// Prints reports whether all of s prints: it is UTF-8 without control characters.
func Prints(s string) bool {
	for i, r := range s {
		if !strconv.IsPrint(r) || r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") {
			return false
		}
	}
	return true
}

func needsQuotes(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("_@%+=:,./-", r)
}

// escape escapes what does not print, and with quotes also what would end or
// change a $'...'.
func escape(s string, quotes bool) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1, r < utf8.RuneSelf && !strconv.IsPrint(r):
			switch s[0] {
			case '\n':
				b.WriteString(`\n`)
			case '\t':
				b.WriteString(`\t`)
			case '\r':
				b.WriteString(`\r`)
			default:
				// Octal: a hexadecimal escape would swallow a digit behind it.
				fmt.Fprintf(&b, `\%03o`, s[0])
			}
		case !strconv.IsPrint(r) && r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		case !strconv.IsPrint(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		case quotes && (r == '\'' || r == '\\'):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

// lines is like [Text], but for newlines, which stay, and tabs that indent a
// line, which become spaces.
func lines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		text := strings.TrimLeft(line, "\t")
		lines[i] = strings.Repeat("    ", len(line)-len(text)) + Text(text)
	}
	return strings.Join(lines, "\n")
}

// Args returns what is to be formatted, with strings cleaned, and errors but
// for their newlines. All else is numbers and words of this program.
func Args(args []any) []any {
	cleaned := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			arg = Text(v)
		case []string:
			list := make([]string, len(v))
			for i, s := range v {
				list[i] = Text(s)
			}
			arg = list
		case error:
			arg = lines(v.Error())
		}
		cleaned[i] = arg
	}
	return cleaned
}

// JSON returns a JSON text that means the same, with everything escaped that
// does not print but for its newlines. Encoders leave some of that in strings.
func JSON(b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\n' || strconv.IsPrint(r) && (r != utf8.RuneError || n > 1):
			out = append(out, b[:n]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[n:]
	}
	return out
}
