// Command taskwatch-hub is the hub of a fleet of taskwatch: see docs/fleet.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/taskwatch/taskwatch/fleet/hub"
)

const usage = `Usage:
  taskwatch-hub --dir DIR [--listen HOST:4222] [--host NAME]...
  taskwatch-hub --dir DIR --nats tls://HOST:4222[,...] [--nats-ca FILE] [--replicas N]
  taskwatch-hub nats-config --dir DIR
  taskwatch-hub enroll --dir DIR [--role node|reader|loader] [--name NAME] [--life 24h]
  taskwatch-hub clients --dir DIR [-f text|json]
  taskwatch-hub revoke --dir DIR NAME|KEY|TOKEN
  taskwatch-hub version
  taskwatch-hub man DIR

The first form serves a fleet until Ctrl-C or SIGTERM. DIR has everything that
the hub keeps; it is made if it is not there. --host names the hub for its
certificate, beside the name of the machine.

With --nats, the fleet uses NATS servers of yours, with JetStream, in place of
one in the hub: nodes and operators connect to them. nats-config prints what
their configuration needs. --nats-ca is the certificate (PEM) that theirs are
signed with; it is needed once. --replicas says on how many servers everything
is stored.

enroll prints a token, a secret that one client can use once: a node with
'taskwatch serve --hub tls://HOST:4222 --hub-token FILE', an operator with
'taskwatch fleet'. A reader sees what the fleet does, and asks questions; a
loader also says which modules are to run, if the nodes trust its signing key.

clients lists the clients and the tokens. revoke takes the rights of one away.

version shows which taskwatch-hub this is. man writes the man page into DIR.

Run by root, the program becomes the user to whom DIR belongs.
`

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "taskwatch-hub:", err)
		os.Exit(1)
	}
}

func run(args []string, out, errs io.Writer) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, err := io.WriteString(out, usage)
		return err
	}
	if err != nil {
		return err
	}
	switch o.command {
	case "version":
		_, err := fmt.Fprintln(out, "taskwatch-hub", version())
		return err
	case "man":
		return writeMan(o.args)
	}
	if err := becomeOwner(o.dir); err != nil {
		return err
	}
	switch o.command {
	case "nats-config":
		text, err := hub.ServerConfig(o.dir)
		if err != nil {
			return err
		}
		_, err = io.WriteString(out, text)
		return err
	case "enroll":
		return enroll(out, errs, o)
	case "clients":
		return list(out, o)
	case "revoke":
		c, err := hub.Revoke(o.dir, o.args[0])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s: revoked\n", c)
		return err
	}
	cfg := hub.Config{Dir: o.dir, Listen: o.listen, Hosts: o.hosts, CA: o.ca, Replicas: o.replicas, Log: slog.New(slog.NewTextHandler(errs, nil))}
	if o.servers != "" {
		cfg.Servers = strings.Split(o.servers, ",")
	}
	return serve(cfg)
}

func serve(cfg hub.Config) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	h, err := hub.Start(cfg)
	if err != nil {
		return err
	}
	notify(cfg.Log, daemon.SdNotifyReady)
	select {
	case <-ctx.Done():
	case err = <-h.Lost(): // it is of no use any more: whoever has started it does so again
	}
	notify(cfg.Log, daemon.SdNotifyStopping)
	h.Close()
	return err
}

// notify tells systemd what the hub does, if systemd has started it.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd is not notified", "error", err)
	}
}
