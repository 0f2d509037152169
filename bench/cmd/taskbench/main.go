// Command taskbench measures what watching costs, with taskwatch and with the
// tools that people use: see package bench. It needs root, and measures the
// tools that are installed.
//
//	go run ./bench/cmd/taskbench
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

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/bench"
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
	cfg := bench.Config{Self: []string{"/proc/self/exe", childArg}}
	flag.IntVar(&cfg.Pairs, "pairs", bench.DefaultPairs, "how many `times` each watcher is measured")
	flag.DurationVar(&cfg.Run, "run", bench.DefaultRun, "how `long` one run of a load takes, about")
	flag.BoolVar(&cfg.Shared, "shared", false, "leave it to the kernel where load and watcher run; otherwise they have a processor each")
	only := flag.String("watchers", "", "measure the watchers whose name has one of these `words`, comma-separated")
	jsonFile := flag.String("json", "", "write the results to this `file`, too")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see -help", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	cfg.Progress = func(s string) { fmt.Fprintf(os.Stderr, "\r\x1b[K%s", s) }
	var list []*bench.Watcher
	for _, w := range bench.All() {
		if slices.ContainsFunc(strings.Split(*only, ","), func(word string) bool { return strings.Contains(w.Name, word) }) {
			list = append(list, w)
		}
	}
	results, err := bench.Measure(ctx, cfg, list)
	fmt.Fprint(os.Stderr, "\r\x1b[K")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n\n", bench.Machine())
	err = bench.WriteTable(os.Stdout, results)
	if *jsonFile != "" {
		text, e := json.MarshalIndent(results, "", "\t")
		if e == nil {
			e = os.WriteFile(*jsonFile, append(text, '\n'), 0o666)
		}
		err = errors.Join(err, e)
	}
	return err
}
