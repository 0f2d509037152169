// Package lazyregexp compiles regular expressions when they are first used. Most runs of
// taskwatch use none of them, and a command that is run would wait for them all.
package lazyregexp

import (
	"regexp"
	"sync"
)

// Regexp is an expression that may not have been compiled yet. Its methods are those of
// [regexp.Regexp], and may be called from several goroutines.
type Regexp struct {
	text     string
	once     sync.Once
	compiled *regexp.Regexp
}

// New returns a regular expression, whose methods panic if its text is none: a test
// of the root package compiles all that there are.
func New(text string) *Regexp { return &Regexp{text: text} }

func (r *Regexp) get() *regexp.Regexp {
	r.once.Do(func() { r.compiled = regexp.MustCompile(r.text) })
	return r.compiled
}

// MatchString is that of package regexp.
func (r *Regexp) MatchString(s string) bool { return r.get().MatchString(s) }

// FindString is that of package regexp.
func (r *Regexp) FindString(s string) string { return r.get().FindString(s) }

// FindStringSubmatch is that of package regexp.
func (r *Regexp) FindStringSubmatch(s string) []string { return r.get().FindStringSubmatch(s) }

// ReplaceAllString is that of package regexp.
func (r *Regexp) ReplaceAllString(s, by string) string { return r.get().ReplaceAllString(s, by) }

// ReplaceAllStringFunc is that of package regexp.
func (r *Regexp) ReplaceAllStringFunc(s string, by func(string) string) string {
	return r.get().ReplaceAllStringFunc(s, by)
}
