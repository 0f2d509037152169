package main

import "github.com/spf13/pflag"

// expression is the value of a flag that may be given once: of two expressions,
// the last would silently replace the first.
type expression struct {
	to    *string
	given bool
}

// addExpression adds a flag for an expression.
func addExpression(flags *pflag.FlagSet, to *string, name, usage string) {
	flags.Var(&expression{to: to}, name, usage)
}

func (e *expression) Set(s string) error {
	if e.given {
		return errTwice
	}
	*e.to, e.given = s, true
	return nil
}

func (e *expression) String() string { return *e.to }

// Type is that of a text, which the help shows.
func (e *expression) Type() string { return "string" }
