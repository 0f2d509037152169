package table

import (
	"iter"

	"github.com/rivo/uniseg"
)

// Width returns how many columns a text takes.
func Width(text string) int {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return uniseg.StringWidth(text)
		}
	}
	return len(text)
}

// Clusters returns the characters of a text as a user sees them, and how many
// columns each takes.
func Clusters(text string) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for state := -1; text != ""; {
			var one string
			var width int
			if text[0] < 0x80 && (len(text) == 1 || text[1] < 0x80) {
				one, text, width, state = text[:1], text[1:], 1, -1
			} else {
				one, text, width, state = uniseg.FirstGraphemeClusterInString(text, state)
			}
			if !yield(one, width) {
				return
			}
		}
	}
}
