// Package jsonstring writes and reads strings of any bytes as JSON strings that
// print: see the package comment of record.
package jsonstring

import (
	"strings"
	"unicode/utf8"
)

// Bytes that are no valid UTF-8 are recorded as characters of the private use
// area: byte 0xNN as U+EFNN. Only 0x80 to 0xFF can be invalid.
const (
	byteBase  = 0xef00
	firstByte = byteBase + 0x80
	lastByte  = byteBase + 0xff
)

const hexDigits = "0123456789abcdef"

// Append appends s as a JSON string: control characters are escaped, and bytes
// that are no valid UTF-8 are characters of the private use area.
func Append(b []byte, s string) []byte {
	b = append(b, '"')
	if isPlain(s) { // nearly always
		return append(append(b, s...), '"')
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if plain[c] {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscape(b, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1, standsForByte(r):
			b = append(b, s[start:i]...)
			for _, c := range []byte(s[i : i+n]) {
				b = appendUnicode(b, byteBase|uint16(c))
			}
			start = i + n
		case r < 0xa0, r == '\u2028', r == '\u2029': // C1 controls drive terminals too
			b = append(b, s[start:i]...)
			b = appendUnicode(b, uint16(r))
			start = i + n
		}
		i += n
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// Encode turns bytes that are no valid UTF-8 into the characters that stand for
// them, for encoders of JSON that would replace them.
func Encode(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, standsForByte) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || standsForByte(r) {
			for _, c := range []byte(s[i : i+n]) {
				b.WriteRune(byteBase | rune(c))
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func standsForByte(r rune) bool { return firstByte <= r && r <= lastByte }

// plain holds the ASCII characters that stand for themselves in a string.
var plain = func() (t [utf8.RuneSelf]bool) {
	for c := range t {
		t[c] = ' ' <= c && c < 0x7f && c != '"' && c != '\\'
	}
	return t
}()

// isPlain reports whether all of s stands for itself. It looks at eight bytes at a time
// because every line has several strings.
func isPlain(s string) bool {
	const size = 8
	if len(s) < size {
		for _, c := range []byte(s) {
			if c >= utf8.RuneSelf || !plain[c] {
				return false
			}
		}
		return true
	}
	for i := size; i < len(s); i += size {
		if !arePlain(word(s[i-size:])) {
			return false
		}
	}
	return arePlain(word(s[len(s)-size:])) // some of it for the second time
}

// word returns the first eight bytes as a number. The compiler makes one load of it.
func word(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// arePlain reports whether plain holds each of eight bytes. Each sum has the top bit of a
// byte that is right. Only a byte with that bit carries into the next one, and the
// first two sums do not agree on such a byte.
func arePlain(w uint64) bool {
	const (
		each = 0x0101010101010101
		top  = 0x80 * each
	)
	blankOn, delOn := w+(0x80-' ')*each, w+(0x80-0x7f)*each
	notQuote, notBackslash := (w^'"'*each)+0x7f*each, (w^'\\'*each)+0x7f*each
	return blankOn&^delOn&notQuote&notBackslash&top == top
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return appendUnicode(b, uint16(c))
}

func appendUnicode(b []byte, c uint16) []byte {
	return append(b, '\\', 'u', hexDigits[c>>12], hexDigits[c>>8&15], hexDigits[c>>4&15], hexDigits[c&15])
}

// Decode turns the characters that stand for bytes back into these. s
// is what a JSON parser made of the string.
func Decode(s string) string {
	// U+EF80 to U+EFFF begin with byte 0xEE in UTF-8.
	first := strings.IndexByte(s, 0xee)
	if first < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:first]...)
	for _, r := range s[first:] {
		if standsForByte(r) {
			b = append(b, byte(r))
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}
