package main

import "github.com/spf13/pflag"

// once is the value of a flag that may be given once: of two, the last would
// silently replace the first.
type once struct {
	to    *string
	given bool
	twice error // what is wrong with two
}

// addExpression adds a flag for an expression.
func addExpression(flags *pflag.FlagSet, to *string, name, usage string) {
	flags.Var(&once{to: to, twice: errTwoExpressions}, name, usage)
}

// addOnce adds a flag for a text of which there is one.
func addOnce(flags *pflag.FlagSet, to *string, name, usage string) {
	flags.Var(&once{to: to, twice: errTwice}, name, usage)
}

func (o *once) Set(s string) error {
	if o.given {
		return o.twice
	}
	*o.to, o.given = s, true
	return nil
}

func (o *once) String() string { return *o.to }

// Type is that of a text, which the help shows.
func (o *once) Type() string { return "string" }
