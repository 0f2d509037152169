package filter

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// near returns a hint with the most similar names.
func near(name string, names []string) string {
	best, found := 3, []string(nil)
	if n := utf8.RuneCountInString(name); n < 6 { // a word with more letters changed is another one
		best = max(1, n/2)
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
	return didYouMean(found)
}

func didYouMean(names []string) string { return "did you mean " + strings.Join(names, " or ") + "?" }

// inParts returns the fields of parts of an event that somebody may have meant who
// left out the part, or the dot: exit.code for code, exitcode and exit_code.
func inParts(name string) (found []string) {
	plain := func(s string) string { return leaveOut.Replace(strings.ToLower(s)) }
	for _, c := range parts {
		for _, have := range c.names {
			if full := typeName(c.name) + "." + have; plain(have) == plain(name) || plain(full) == plain(name) {
				found = append(found, full)
			}
		}
	}
	return found
}

var leaveOut = strings.NewReplacer("_", "", ".", "")

// distance returns how many characters must be inserted, removed, changed or
// swapped with the next one.
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
