package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

// The errors of flags that may be given once.
var (
	errTwice          = errors.New("is given twice; give one")
	errTwoExpressions = errors.New("is given twice; join the expressions with && or ||")
)

// flagError returns the error of a flag in the words of taskwatch where the
// flag library passes on those of package strconv or time.
func flagError(err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if name := unknown.GetSpecifiedName(); len(name) == 1 && '0' <= name[0] && name[0] <= '9' {
			return fmt.Errorf("%w; put -- before the arguments if that is a negative number", err)
		}
	}
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	flag := bad.GetFlag()
	for _, twice := range []error{errTwice, errTwoExpressions} {
		if errors.Is(bad.Unwrap(), twice) {
			return fmt.Errorf("--%s %w", flag.Name, twice)
		}
	}
	want, ok := map[string]string{
		"int": "a whole number", "int32": "a whole number", "int64": "a whole number",
		"uint": "a whole number from 0", "uint32": "a whole number from 0", "uint64": "a whole number from 0",
		"float64": "a number", "duration": "a time with its unit, like 200ms or 1m30s", "bool": "true or false",
		(*atATime)(nil).Type(): "a number of nodes above 0, or 1% to 100%",
	}[flag.Value.Type()]
	if !ok {
		return err
	}
	if errors.Is(bad.Unwrap(), strconv.ErrRange) {
		return fmt.Errorf("--%s %q: that number is too large; give %s", flag.Name, bad.GetValue(), want)
	}
	return fmt.Errorf("--%s %q: give %s", flag.Name, bad.GetValue(), want)
}
