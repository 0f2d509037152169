package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// quote returns s as one word of a shell: as it is where that is safe, else
// in single quotes, else, where something does not print, as $'...' with
// escapes, which bash, zsh and ksh read back to the same bytes.
func quote(s string) string {
	switch {
	case s == "":
		return "''"
	case !prints(s):
		return "$'" + escape(s, true) + "'"
	case strings.IndexFunc(s, needsQuotes) >= 0:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// clean returns s with everything escaped that does not print.
func clean(s string) string {
	if prints(s) {
		return s
	}
	return escape(s, false)
}

func prints(s string) bool {
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
