package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aead.dev/minisign"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/fleet/registry"
	"github.com/taskwatch/taskwatch/fleet/selector"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/sign"
	stock "github.com/taskwatch/taskwatch/modules"
)

// fleetInsmod are the flags of fleet insmod.
type fleetInsmod struct {
	hub hubFlags
	key keyFlags

	name                    string
	sel                     string
	valid, lease, timeout   time.Duration
	settle                  time.Duration
	wait, back              bool
	step                    atATime
	observeOnly, bestEffort bool
	registry                registry.Registry
}

// addValid adds the flag for how long an entry is accepted.
func addValid(cmd *cobra.Command, valid *time.Duration) {
	cmd.Flags().DurationVar(valid, "valid", 90*24*time.Hour, "have the nodes accept the entry for this `time`")
	cmd.Flags().Lookup("valid").DefValue = "2160h, which is 90 days"
}

func checkValid(valid time.Duration) error {
	if valid <= 0 {
		return usage(fmt.Errorf("--valid %v: give a time above 0", valid))
	}
	return nil
}

func newFleetInsmod() *cobra.Command {
	var f fleetInsmod
	cmd := &cobra.Command{
		Use:   "insmod FILE|NAME|oci://REGISTRY/NAME:TAG [key=value...]",
		Short: "Load a module on the nodes of a fleet",
		Long: `insmod signs what is to run where, with --key, and gives that to the hub with
the file of the module. Nodes that trust the key load the module, or put it in
the place of the one that has its name; nodes that are away do it when they come
back. Nodes that --select does not choose unload the module if they have it.

The expression of --select is in CEL, over the facts name, arch, kernel,
version, source, kernel_modules, and the labels that nodes were given with
--hub-label; a label that a node does not have is "".

With oci://, the nodes get the file from a registry of containers, where
'taskwatch module push' has put it, by the digest that is signed; insmod gets it
from there as well, and the hub does not.

--wait waits until all nodes that are not silent have loaded the module or have
failed to. A node that cannot load it keeps the version that it had.
--max-unavailable N, or P%, goes on with so many more nodes when all before have
loaded it and still report after the time of --settle. It stops when one has
failed or has become silent; --rollback then wants again what was wanted before.

With --lease, insmod continues until Ctrl-C, and renews what it has said three
times in that time. When it ends, it wants the module unloaded; when it is
killed, or the hub or the network is lost, each node unloads the module when the
lease is over, by its own clock.

An expression that chooses none of the nodes that there are is no error, because
others may come; insmod says so.

The exit status is 0 if the hub has accepted the entry and, with --wait, all
nodes that are not silent have loaded the module; 1 if not.`,
		Example: `  taskwatch fleet insmod --key team.key forkguard --select 'role == "ci"'
  taskwatch fleet insmod --key team.key --wait count.o
  taskwatch fleet insmod --key team.key --max-unavailable 10% --rollback count.o
  taskwatch fleet insmod --key team.key --lease 60s execguard
  taskwatch fleet insmod --key team.key oci://registry.example/team/count:1`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeModuleFile,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.hub.add(cmd)
	f.key.add(cmd)
	addExpression(flags, &f.sel, "select", "only on nodes for which this `expression` is true")
	flags.BoolVar(&f.wait, "wait", false, "wait until the nodes have followed")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "wait at most this `time`, for each step")
	flags.Var(&f.step, "max-unavailable", "load on this `number` of nodes at a time, as 5 or 10%")
	flags.DurationVar(&f.settle, "settle", 10*time.Second, "with --max-unavailable, go on when the nodes still report after\nthis `time`")
	flags.BoolVar(&f.back, "rollback", false, "with --max-unavailable, go back after a failure")
	flags.DurationVar(&f.lease, "lease", 0, "have the nodes unload it when it is not renewed for this `time`,\nat least 3s")
	addValid(cmd, &f.valid)
	flags.StringVar(&f.name, "name", "", "load it under this `name` (default the name of the file, up to the dot)")
	addPlainHTTP(cmd, &f.registry)
	addBestEffort(cmd, &f.bestEffort)
	flags.BoolVar(&f.observeOnly, "allow-observe-only", false, "load a module that asks for a veto even if\nnothing can be denied there")
	complete(cmd, "select", cobra.NoFileCompletions)
	return cmd
}

// check returns the error of a command line that makes no sense.
func (f *fleetInsmod) check() error {
	switch {
	case f.back && !f.step.given():
		return usage(errors.New("--rollback works only with --max-unavailable"))
	case f.settle < 0:
		return usage(fmt.Errorf("--settle %v: give a time, or 0", f.settle))
	case f.lease != 0 && f.lease < 3*time.Second:
		return usage(fmt.Errorf("--lease %v: give at least 3s", f.lease))
	case f.lease != 0 && f.step.given():
		return usage(errors.New("--lease and --max-unavailable do not work together"))
	}
	if err := checkValid(f.valid); err != nil {
		return err
	}
	if err := fleet.CheckSelect(f.sel); err != nil {
		return usage(fmt.Errorf("--select: %w", err))
	}
	if _, err := selector.Parse(f.sel); err != nil {
		return usage(fmt.Errorf("--%w", err))
	}
	return nil
}

// inRegistry is how the name of a module begins that nodes get from a registry.
const inRegistry = "oci://"

// entry reads the module, and returns what is to be signed, and the file where the
// hub is to have it.
func (f *fleetInsmod) entry(args []string) (*fleet.Entry, []byte, error) {
	params, err := module.ParseParams(args[1:])
	if err != nil {
		return nil, nil, usage(err)
	}
	ref, away := strings.CutPrefix(args[0], inRegistry)
	m, place := (*registry.Module)(nil), ""
	if away {
		ctx, cancel := untilSignal()
		defer cancel()
		if place, err = f.registry.Place(ref); err == nil {
			m, err = f.registry.Pull(ctx, ref)
		}
	} else {
		m, err = signedModule(args[0])
	}
	if err != nil {
		return nil, nil, moduleFailed(err)
	}
	name := cmp.Or(f.name, module.NameOf(m.FileName))
	if err := checkForNodes(name, m.File, params); err != nil {
		return nil, nil, moduleFailed(err)
	}
	e := &fleet.Entry{
		Module: name, Digest: fleet.Digest(m.File), Registry: place, Signature: string(m.Signature),
		Params: params, Select: f.sel, Lease: f.lease, Expires: time.Now().Add(f.valid).UTC(),
		AllowObserveOnly: f.observeOnly, AllowBestEffort: f.bestEffort,
	}
	if away {
		return e, nil, nil
	}
	return e, m.File, nil
}

var errContents = errors.New("nodes cannot be given the first entries of a map; use a parameter, or load it at each node with 'taskwatch insmod'")

// checkForNodes returns the error that every node would have with a file and its
// parameters, whatever its kernel.
func checkForNodes(name string, b []byte, params map[string]string) error {
	file, err := host.Parse(name, b, nil)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, _, err := host.SplitContents(b, params, func(string) ([]byte, error) { return nil, errContents }); err != nil {
		return fmt.Errorf("module %q: %w", name, err)
	}
	return file.CheckParams(params)
}

// signedModule reads a module, with its signature unless it is a stock one.
func signedModule(name string) (*registry.Module, error) {
	b, err := readModule(name)
	if err != nil {
		return nil, err
	}
	m := &registry.Module{FileName: filepath.Base(name), File: b}
	if !stock.IsStock(b) {
		if m.Signature, err = sign.ReadSignature(name); err != nil {
			return nil, fmt.Errorf("module %q: its signature: %w", name, err)
		}
	}
	return m, nil
}

func (f *fleetInsmod) run(cmd *cobra.Command, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	e, file, err := f.entry(args)
	if err != nil {
		return err
	}
	key, err := f.key.read()
	if err != nil {
		return err
	}
	c, err := f.hub.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if file != nil {
		if err := c.Upload(ctx, file); err != nil {
			return moduleFailed(err)
		}
	}
	nodes, err := chosenBy(ctx, c, e.Select, "module "+e.Module)
	if err != nil {
		return moduleFailed(err)
	}
	switch {
	case f.step.given():
		err = f.rollout(ctx, c, key, e, f.step.of(nodes))
	case f.lease > 0:
		err = f.renew(ctx, c, key, e)
	default:
		if err = c.Put(ctx, key, e); err == nil && f.wait {
			err = await(ctx, c, e, f.timeout)
		}
	}
	if err != nil {
		return moduleFailed(err)
	}
	return nil
}

func (f *fleetInsmod) rollout(ctx context.Context, c *operator.Conn, key minisign.PrivateKey, e *fleet.Entry, step int) error {
	r := operator.Rollout{Key: key, Step: step, Settle: f.settle, Rollback: f.back, Timeout: f.timeout, OnStep: func(done, all int, o *operator.Outcome) {
		if all == 0 {
			return // it is said
		}
		say("%s: %d of %d nodes", e.Module, done, all)
		saySilent(o)
	}}
	err := r.Run(ctx, c, e)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return fmt.Errorf("module %s: the rollout was interrupted: the nodes of the steps that were begun load it, and the others keep what they have; the same command goes on, and 'taskwatch fleet rmmod' unloads it everywhere: %w", e.Module, err)
	case errors.Is(err, operator.ErrFailed):
		return fmt.Errorf("module %s: %w", e.Module, err)
	}
	return err
}

// renew says what is to run again and again, until ctx ends.
func (f *fleetInsmod) renew(ctx context.Context, c *operator.Conn, key minisign.PrivateKey, e *fleet.Entry) error {
	first := true
	series := &operator.Series{Conn: c, Key: key}
	tick := time.NewTicker(f.lease / 3)
	defer tick.Stop()
	for {
		// An old renewal must not be of use to anybody. A minute is for clocks that
		// differ.
		e.Expires = time.Now().Add(f.lease + time.Minute).UTC()
		err := series.Put(ctx, e)
		switch {
		case ctx.Err() != nil:
		case err != nil && first, errors.Is(err, operator.ErrChanged):
			return err
		case err != nil:
			say("%s: the lease is not renewed: %v", e.Module, err)
		case first:
			say("%s: the lease of %v is renewed until Ctrl-C, which unloads the module", e.Module, f.lease)
			if f.wait {
				sayError(await(ctx, c, e, f.lease/3))
			}
		}
		first = false
		select {
		case <-tick.C:
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return series.Put(end, &fleet.Entry{Module: e.Module, Absent: true, Expires: time.Now().Add(f.valid).UTC()})
		}
	}
}

// await waits for the nodes, and says which have failed or are silent.
func await(ctx context.Context, c *operator.Conn, e *fleet.Entry, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	o, err := c.Await(ctx, e)
	if o != nil {
		saySilent(o)
		for _, g := range grouped(failedOf(e.Module, o)) {
			say("%s\n    %s", g.what(), firstOf(g.nodes))
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("module %s: %w: not all nodes have followed within %v; 'taskwatch fleet lsmod' shows which", e.Module, operator.ErrFailed, limit)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("module %s: interrupted before all nodes have followed; they do so all the same, and 'taskwatch fleet lsmod' shows which have: %w", e.Module, err)
	case err != nil:
		return err
	case len(o.Failed()) > 0:
		return fmt.Errorf("module %s: %w: it failed on %d of %d nodes", e.Module, operator.ErrFailed, len(o.Failed()), len(o.Done))
	}
	return nil
}

func saySilent(o *operator.Outcome) {
	var names []string
	for _, n := range o.Silent {
		names = append(names, nodeName(n.Report.Facts.Name, n.Key))
	}
	if len(names) > 0 {
		slices.Sort(names)
		say("%s\n    %s", areSilent(len(names)), firstOf(names))
	}
}

// nodeName returns what a node is called for people: names may be taken twice.
func nodeName(name, key string) string { return name + " (" + key[:min(len(key), 8)] + ")" }

func newFleetRmmod() *cobra.Command {
	var hub hubFlags
	var key keyFlags
	var wait bool
	var timeout, valid time.Duration
	cmd := &cobra.Command{
		Use:   "rmmod NAME...",
		Short: "Unload modules on all nodes of a fleet",
		Long: `rmmod signs that modules are to be unloaded, wherever they run, with --key, and
gives that to the hub. Nodes that are away do it when they come back, in the
time of --valid. The hub forgets the module within two days of that time, unless
it still runs somewhere.

The exit status is 0 if the hub has accepted it and, with --wait, all nodes have
followed that are not silent; 1 if not.`,
		Example: "  taskwatch fleet rmmod --key team.key --wait forkguard",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkValid(valid); err != nil {
				return err
			}
			private, err := key.read()
			if err != nil {
				return err
			}
			c, err := hub.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			all, err := c.Wanted(cmd.Context())
			if err != nil {
				return moduleFailed(err)
			}
			failed := false
			for _, name := range args {
				if all[name] == nil {
					say("module %s: the hub has no entry of it; 'taskwatch fleet lsmod' lists what it has", name)
					failed = true
					continue
				}
				e := &fleet.Entry{Module: name, Absent: true, Expires: time.Now().Add(valid).UTC()}
				err := c.Put(cmd.Context(), private, e)
				if err == nil && wait {
					err = await(cmd.Context(), c, e, timeout)
				}
				if err != nil {
					say("%v", err)
					failed = true
				}
			}
			if failed {
				return ended(exitFailed)
			}
			return nil
		},
	}
	hub.add(cmd)
	key.add(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the nodes have followed")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "wait at most this `time`")
	addValid(cmd, &valid)
	return cmd
}
