package table

import "strings"

// Wrap returns the words of a text in lines of a width, the first behind one text
// and the others behind another one. A word that is longer makes its line longer.
func Wrap(width int, first, others, text string) string {
	var b strings.Builder
	b.WriteString(first)
	at, begun := Width(first), false
	for word := range strings.FieldsSeq(text) {
		n := Width(word)
		switch {
		case !begun:
		case at+1+n > width:
			b.WriteString("\n" + others)
			at = Width(others)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at, begun = at+n, true
	}
	b.WriteByte('\n')
	return b.String()
}
