package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

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
	hub, token, dir string
	keys, labels    []string
}

func (f *nodeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.hub, "hub", "", "join the fleet of the hub at this `address`: tls://HOST:4222; see docs/fleet.md")
	flags.StringVar(&f.token, "hub-token", "", "with --hub, enroll with the token in this `file`")
	flags.StringArrayVar(&f.keys, "hub-key", nil, "with --hub, do what is signed with the public key in this `FILE`;\nmay be given several times")
	flags.StringArrayVar(&f.labels, "hub-label", nil, "with --hub, have this label, as `NAME=VALUE`; may be given several times")
	flags.StringVar(&f.dir, "hub-dir", nodeDir, "with --hub, keep the key and the modules in this `directory`")
	complete(cmd, "hub", cobra.NoFileCompletions)
	complete(cmd, "hub-label", cobra.NoFileCompletions)
	if err := errors.Join(cmd.MarkFlagFilename("hub-token"), cmd.MarkFlagFilename("hub-key", "pub"), cmd.MarkFlagDirname("hub-dir")); err != nil {
		panic(err) // no such flag
	}
}

// config returns the configuration of the node, but for its daemon, or nil where
// the daemon is to be none.
func (f *nodeFlags) config(cmd *cobra.Command, log *slog.Logger) (*node.Config, error) {
	if f.hub == "" {
		for _, name := range []string{"hub-token", "hub-key", "hub-label", "hub-dir"} {
			if cmd.Flags().Changed(name) {
				return nil, usage(fmt.Errorf("--%s works only with --hub", name))
			}
		}
		return nil, nil
	}
	labels := map[string]string{}
	for _, l := range f.labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok || !isLabel(name) {
			return nil, usage(fmt.Errorf("--hub-label %q: give NAME=VALUE, with a name of letters, digits and _", l))
		}
		if selector.IsFact(name) {
			return nil, usage(fmt.Errorf("--hub-label %q: each node has a fact of that name; choose another name", l))
		}
		labels[name] = value
	}
	if len(f.keys) == 0 {
		return nil, usage(errors.New("--hub needs a key that says what runs here: --hub-key FILE"))
	}
	keys, err := sign.ReadKeys(f.keys...)
	if err != nil {
		return nil, serveFailed(fmt.Errorf("--hub-key: %w", err))
	}
	id, err := fleet.OpenIdentity(f.dir, f.hub, f.token)
	if err != nil {
		return nil, serveFailed(err)
	}
	return &node.Config{Identity: id, Keys: keys, Labels: labels, Log: log}, nil
}

// isLabel reports whether an expression can name it.
func isLabel(name string) bool {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// runNode runs a node until ctx ends, once the daemon is ready.
func runNode(ctx context.Context, cfg *node.Config, d *daemon.Daemon, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	cfg.Daemon = d
	n, err := node.New(*cfg)
	if err == nil {
		err = n.Run(ctx)
	}
	if err != nil {
		cfg.Log.Error("the daemon is no node of the fleet", "error", err)
	}
}
