// Command kerneltable holds README's table of what works on which kernel and
// processor to what machines have shown.
//
//	go run ./test/vm/cmd/kerneltable [-write] README RESULTS...
//
// The results are those of vmtest -results. Every machine in them in which
// doctor ran must have its row in the table, as it is found there; else
// kerneltable prints the rows as they should be, and ends with status 1. With
// -write it puts them into the table, and leaves the rows of other machines.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/test/vm"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("kerneltable", flag.ContinueOnError)
	fs.SetOutput(stderr)
	write := fs.Bool("write", false, "put the rows into the table")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if fs.NArg() < 2 {
		fmt.Fprintln(stderr, "kerneltable: want README and files of results")
		return 2
	}
	if err := update(fs.Arg(0), fs.Args()[1:], *write); err != nil {
		fmt.Fprintln(stderr, "kerneltable:", err)
		return 1
	}
	return 0
}

func update(page string, results []string, write bool) error {
	var seen []row
	for _, file := range results {
		list, err := vm.ReadResults(file)
		if err != nil {
			return err
		}
		for _, m := range list {
			r, err := rowOf(m)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if r != nil {
				seen = append(seen, r)
			}
		}
	}
	if len(seen) == 0 {
		return fmt.Errorf("no machine of %s has a diagnosis", strings.Join(results, " "))
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, table, after, err := cut(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	missing := slices.DeleteFunc(slices.Clone(seen), func(r row) bool {
		return slices.ContainsFunc(table, func(old row) bool { return slices.Equal(old, r) })
	})
	if !write {
		if len(missing) == 0 {
			return nil
		}
		return fmt.Errorf("%s does not say what was seen, which is:\n%srun it with -write", page, format(missing))
	}
	return os.WriteFile(page, []byte(before+format(merge(table, seen))+after), 0o644)
}
