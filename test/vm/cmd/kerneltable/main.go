// Command kerneltable holds README's table of what works on which kernel and
// processor, and the tables of what the modules' tests have passed on, to what
// machines have shown.
//
//	go run ./test/vm/cmd/kerneltable [-write] [-modules DIR] README RESULTS...
//	go run ./test/vm/cmd/kerneltable -here SKIPS [-diagnosis FILE] RESULTS
//
// The results are those of vmtest -results. Every machine in them in which
// doctor ran must have its row in README's table, as it is found there, and
// those that have a row in the table of a page in DIR must have shown what it says;
// else kerneltable prints the rows as they should be, and ends with status 1. With
// -write it puts the rows of all machines into the tables, and leaves those of others.
//
// With -here it adds this machine to the results, where all tests have passed but
// for those in the file of skipped ones (TASKWATCH_SKIPS), and doctor has found what
// is in the other file (TASKWATCH_DIAGNOSIS).
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/taskwatch/taskwatch/test/vm"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("kerneltable", flag.ContinueOnError)
	fs.SetOutput(stderr)
	write := fs.Bool("write", false, "put the rows into the tables")
	modules := fs.String("modules", "", "the `directory` of the modules' pages")
	here := fs.String("here", "", "add this machine, with the skipped tests of this `file`")
	diagnosis := fs.String("diagnosis", "", "the `file` with what doctor has found here")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	var err error
	switch {
	case *here != "" && fs.NArg() == 1:
		err = addHere(*here, *diagnosis, fs.Arg(0))
	case *here == "" && fs.NArg() >= 2:
		err = update(fs.Arg(0), *modules, fs.Args()[1:], *write)
	default:
		fmt.Fprintln(stderr, "kerneltable: want README and files of results")
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, "kerneltable:", err)
		return 1
	}
	return 0
}

func update(page, modules string, results []string, write bool) error {
	var machines []vm.MachineResult
	var seen []row
	for _, file := range results {
		list, err := vm.ReadResults(file)
		if err != nil {
			return err
		}
		machines = append(machines, list...)
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
	errs := []error{readme.hold(page, string(text), seen, write)}
	if modules != "" {
		pages, err := filepath.Glob(filepath.Join(modules, "*.md"))
		if err == nil && len(pages) == 0 {
			err = fmt.Errorf("%s has no pages", modules)
		}
		errs = append(errs, err)
		for _, p := range pages {
			errs = append(errs, holdModule(p, filepath.Dir(page), machines, write))
		}
	}
	return errors.Join(errs...)
}
