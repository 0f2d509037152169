// Package profile reads CPU profiles. It is apart from package bench because what it
// imports takes time before main, and taskwatch itself reads none.
package profile

import (
	"os"

	"github.com/google/pprof/profile"
)

// Read calls each with the stacks of a profile, the names of the functions from the
// innermost on, and the number of samples.
func Read(file string, each func(stack []string, samples int64)) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	prof, err := profile.Parse(f)
	if err != nil {
		return err
	}
	for _, s := range prof.Sample {
		var stack []string
		for _, l := range s.Location {
			for _, line := range l.Line {
				stack = append(stack, line.Function.Name)
			}
		}
		each(stack, s.Value[0])
	}
	return nil
}
