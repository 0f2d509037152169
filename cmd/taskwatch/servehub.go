package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/node"
	"github.com/taskwatch/taskwatch/fleet/selector"
	"github.com/taskwatch/taskwatch/module/sign"
)

// nodeDir is where a node keeps its key and what it has accepted.
const nodeDir = "/var/lib/taskwatch/fleet"

// nodeFlags make the daemon a node of a fleet.
type nodeFlags struct {
	hub, token, dir, name string
	keys, labels          []string
}

func (f *nodeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.hub, "hub", "", "join the fleet of the hub at this `address`: tls://HOST:4222; see docs/fleet.md")
	flags.StringVar(&f.token, "hub-token", "", "with --hub, enroll with the token in this `file`")
	flags.StringVar(&f.name, "hub-name", "", "with --hub, call this machine `NAME` (default its host name)")
	flags.StringArrayVar(&f.keys, "hub-key", nil, "with --hub, do what is signed with the public key in this `FILE`;\nmay be given several times")
	flags.StringArrayVar(&f.labels, "hub-label", nil, "with --hub, have this label, as `NAME=VALUE`; may be given several times")
	flags.StringVar(&f.dir, "hub-dir", nodeDir, "with --hub, keep the key and the modules in this `directory`")
	complete(cmd, "hub", cobra.NoFileCompletions)
	complete(cmd, "hub-name", cobra.NoFileCompletions)
	complete(cmd, "hub-label", cobra.NoFileCompletions)
	if err := errors.Join(cmd.MarkFlagFilename("hub-token"), cmd.MarkFlagFilename("hub-key", "pub"), cmd.MarkFlagDirname("hub-dir")); err != nil {
		panic(err) // no such flag
	}
}

// over returns what the configuration file says of the fleet, with what the flags
// say instead of it, or beside it.
func (f *nodeFlags) over(cmd *cobra.Command, file daemon.FileHub) (daemon.FileHub, error) {
	flags := cmd.Flags()
	for _, o := range []struct {
		flag  string
		value string
		to    *string
	}{{"hub", f.hub, &file.Address}, {"hub-token", f.token, &file.Token}, {"hub-dir", f.dir, &file.Dir}, {"hub-name", f.name, &file.Name}} {
		if flags.Changed(o.flag) {
			*o.to = o.value
		}
	}
	file.Dir = cmp.Or(file.Dir, nodeDir)
	file.Keys = append(file.Keys, f.keys...)
	if file.Labels = maps.Clone(file.Labels); file.Labels == nil {
		file.Labels = map[string]string{}
	}
	given := map[string]bool{} // a label of the configuration may be given another value
	for _, l := range f.labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok {
			return file, usage(fmt.Errorf("--hub-label %q: give NAME=VALUE, with a name of letters, digits and _", l))
		}
		if given[name] {
			return file, usage(fmt.Errorf("--hub-label %q: %s is given twice; a label has one value", l, name))
		}
		given[name] = true
		file.Labels[name] = value
	}
	return file, nil
}

// joining is a daemon that is to be a node. Its identity is not there while there
// is no token.
type joining struct {
	node.Config
	open func() (*fleet.Identity, error)
}

// config returns the configuration of the node, but for its daemon, or nil where
// the daemon is to be none.
func (f *nodeFlags) config(cmd *cobra.Command, file *daemon.File, name string, log *slog.Logger) (*joining, error) {
	h, err := f.over(cmd, file.Joins(name))
	if err != nil {
		return nil, err
	}
	if h.Address == "" {
		if file.Hub != nil {
			return nil, serveFailed(fmt.Errorf("configuration %s: [hub] has no address; it looks like tls://HOST:4222", name))
		}
		for _, name := range []string{"hub-token", "hub-name", "hub-key", "hub-label", "hub-dir"} {
			if cmd.Flags().Changed(name) {
				return nil, usage(fmt.Errorf("--%s works only with --hub", name))
			}
		}
		return nil, nil
	}
	for _, label := range slices.Sorted(maps.Keys(h.Labels)) {
		if selector.IsFact(label) {
			return nil, usage(fmt.Errorf("the label %q of the node: each node has a fact of that name; choose another name", label))
		}
		if !selector.IsLabel(label) {
			return nil, usage(fmt.Errorf("the label %q of the node: give a name of letters, digits and _ that is no word of the language of --select", label))
		}
	}
	if len(h.Keys) == 0 {
		return nil, usage(errors.New("no key says what runs here: give one with --hub-key FILE, or with keys in [hub]"))
	}
	keys, err := sign.ReadKeys(h.Keys...)
	if err != nil {
		return nil, serveFailed(fmt.Errorf("the keys of the fleet: %w", err))
	}
	j := &joining{
		Config: node.Config{Keys: keys, Labels: h.Labels, Name: h.Name, Log: log},
		open:   func() (*fleet.Identity, error) { return fleet.OpenIdentity(h.Dir, h.Address, h.Token) },
	}
	// A token that a flag names ought to be there. One of the configuration may come
	// later: a machine watches before somebody enrolls it.
	if j.Identity, err = j.open(); err != nil && (!errors.Is(err, fleet.ErrNoToken) || cmd.Flags().Changed("hub-token")) {
		return nil, serveFailed(err)
	}
	return j, nil
}

// tokenEvery is how often a daemon without a token looks whether there is one.
const tokenEvery = 5 * time.Second

// enroll waits for the token of a node that has none, until ctx ends.
func (j *joining) enroll(ctx context.Context) (err error) {
	tick := time.NewTicker(tokenEvery)
	defer tick.Stop()
	said := ""
	for j.Identity == nil {
		if j.Identity, err = j.open(); err == nil {
			break
		}
		if err.Error() != said {
			j.Log.Warn("the daemon is no node of the fleet until it has a token", "error", err)
			said = err.Error()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// run runs the node until ctx ends, once the daemon is ready.
func (j *joining) run(ctx context.Context, d *daemon.Daemon, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	var n *node.Node
	err := j.enroll(ctx)
	if err == nil {
		j.Daemon = d
		n, err = node.New(j.Config)
	}
	if err == nil {
		err = n.Run(ctx)
	}
	if err != nil && ctx.Err() == nil {
		j.Log.Error("the daemon is no node of the fleet", "error", err)
	}
}
