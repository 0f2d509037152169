// Command taskbench measures what watching costs, with taskwatch and with the
// tools that people use: see package bench. It needs root, and measures the
// tools that are installed.
//
//	go run ./internal/bench/cmd/taskbench
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/bench"
	"github.com/taskwatch/taskwatch/internal/bench/profile"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// childArg has the program be one of the watchers.
const childArg = "child"

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == childArg {
		err = bench.Child(os.Args[2:], os.Stdin, os.Stdout)
	} else {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "taskbench:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg := bench.Config{Self: []string{procfs.Self, childArg}, ReadProfile: profile.Read}
	flag.IntVar(&cfg.Pairs, "pairs", bench.DefaultPairs, "how many `times` each watcher is measured")
	flag.DurationVar(&cfg.Run, "run", bench.DefaultRun, "how `long` one run of a load takes, about")
	names := flag.String("tables", strings.Join(bench.TableNames(), ","), "the `tables` to make, comma-separated")
	only := flag.String("watchers", "", "make no tables: measure the watchers whose name has one of these `words`, comma-separated")
	shared := flag.Bool("shared", false, "with -watchers: leave it to the kernel where load and watcher run")
	jsonFile := flag.String("json", "", "write the results to this `file`, too")
	flag.StringVar(&cfg.Profiles, "profiles", "", "leave the profiles of the table of that name in this `directory`")
	flag.DurationVar(&cfg.Limit, "limit", bench.DefaultLimit, "how `long` the table stock is measured")
	flag.StringVar(&cfg.Source, "source", "", "the `directory` with the sources of zlib that the table stock builds (default: Debian's)")
	page := flag.String("page", "", "put the tables into this `file`, between the lines that are there for them")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see -help", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	progress := progressTo(os.Stderr)
	cfg.Progress = progress

	var tables []*bench.Table
	if *only != "" {
		cfg.Shared = *shared
		t, err := some(ctx, cfg, strings.Split(*only, ","))
		progress("")
		if err != nil {
			return err
		}
		fmt.Print(t.Text)
		tables = append(tables, t)
	} else {
		for _, name := range strings.Split(*names, ",") {
			t, err := bench.MakeTable(ctx, cfg, name)
			progress("")
			if err != nil {
				return err
			}
			fmt.Printf("%s:\n\n%s\n", name, t.Text)
			tables = append(tables, t)
		}
	}
	err := writeJSON(*jsonFile, tables)
	if *page != "" {
		list := tables
		machine := fmt.Sprintf("%s; %d pairs of runs of %v each, on %s.", bench.Machine(), cfg.Pairs, cfg.Run, time.Now().UTC().Format(time.DateOnly))
		if slices.ContainsFunc(tables, func(t *bench.Table) bool { return !t.Dated }) {
			list = append(list, &bench.Table{Name: "machine", Text: machine})
		}
		err = errors.Join(err, update(*page, list))
	}
	return err
}

// progressTo returns what keeps one line of a terminal up to date; "" removes
// it. It says nothing where there is no terminal.
func progressTo(f *os.File) func(string) {
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return func(string) {}
	}
	return func(s string) { fmt.Fprintf(f, "\r\x1b[K%s", s) }
}

func some(ctx context.Context, cfg bench.Config, words []string) (*bench.Table, error) {
	var list []*bench.Watcher
	for _, w := range bench.All() {
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(w.Name, word) }) {
			list = append(list, w)
		}
	}
	results, err := bench.Measure(ctx, cfg, list)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	err = bench.WriteMarkdown(&b, results)
	return &bench.Table{Name: "some", Text: b.String(), Results: results}, err
}

func writeJSON(file string, tables []*bench.Table) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(tables, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o666)
}

func update(file string, tables []*bench.Table) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := string(page)
	for _, t := range tables {
		if text, err = bench.UpdatePage(text, t.Name, t.Text); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return os.WriteFile(file, []byte(text), 0o666)
}
