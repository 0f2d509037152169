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
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/hub"
	"github.com/taskwatch/taskwatch/internal/table"
)

const usage = `Usage:
  taskwatch-hub --dir DIR [--listen HOST:4222] [--host NAME]...
  taskwatch-hub --dir DIR --nats tls://HOST:4222[,...] [--nats-ca FILE] [--replicas N]
  taskwatch-hub nats-config --dir DIR
  taskwatch-hub enroll --dir DIR [--role node|reader|loader] [--name NAME] [--life 24h]
  taskwatch-hub clients --dir DIR
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
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("taskwatch-hub", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	dir := flags.String("dir", "", "")
	listen := flags.String("listen", hub.DefaultListen, "")
	role := flags.String("role", string(fleet.Node), "")
	name := flags.String("name", "", "")
	life := flags.Duration("life", 24*time.Hour, "")
	servers := flags.String("nats", "", "")
	ca := flags.String("nats-ca", "", "")
	replicas := flags.Int("replicas", 0, "")
	var hosts []string
	flags.Func("host", "", func(s string) error { hosts = append(hosts, s); return nil })
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		_, err := io.WriteString(out, usage)
		return err
	} else if err != nil {
		return fmt.Errorf("%w; see 'taskwatch-hub --help'", err)
	}
	switch command {
	case "version":
		_, err := fmt.Fprintln(out, "taskwatch-hub", version())
		return err
	case "man":
		return writeMan(flags.Args())
	}
	if *dir == "" {
		return errors.New("no directory given: --dir DIR; see 'taskwatch-hub --help'")
	}
	if command != "revoke" && flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see 'taskwatch-hub --help'", flags.Arg(0))
	}
	if err := becomeOwner(*dir); err != nil {
		return err
	}
	switch command {
	case "serve":
		cfg := hub.Config{Dir: *dir, Listen: *listen, Hosts: hosts, CA: *ca, Replicas: *replicas, Log: slog.New(slog.NewTextHandler(errs, nil))}
		if *servers != "" {
			cfg.Servers = strings.Split(*servers, ",")
		}
		return serve(cfg)
	case "nats-config":
		text, err := hub.ServerConfig(*dir)
		if err != nil {
			return err
		}
		_, err = io.WriteString(out, text)
		return err
	case "enroll":
		r, err := fleet.ParseRole(*role)
		if err != nil {
			return err
		}
		t, err := hub.Enroll(*dir, r, *name, *life)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, t)
		return err
	case "clients":
		return list(out, *dir)
	case "revoke":
		if flags.NArg() != 1 {
			return errors.New("give one client: taskwatch-hub revoke --dir DIR NAME|KEY|TOKEN")
		}
		c, err := hub.Revoke(*dir, flags.Arg(0))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s: revoked\n", c)
		return err
	}
	return fmt.Errorf("unknown command %q; see 'taskwatch-hub --help'", command)
}

func serve(cfg hub.Config) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	h, err := hub.Start(cfg)
	if err != nil {
		return err
	}
	notify(cfg.Log, daemon.SdNotifyReady)
	<-ctx.Done()
	notify(cfg.Log, daemon.SdNotifyStopping)
	h.Close()
	return nil
}

// notify tells systemd what the hub does, if systemd has started it.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd is not notified", "error", err)
	}
}

func list(out io.Writer, dir string) error {
	clients, err := hub.Clients(dir)
	if err != nil {
		return err
	}
	t := table.NewLeft("TOKEN", "ROLE", "NAME", "STATE", "REJECTED", "KEY")
	for _, c := range clients {
		state := "not used"
		switch {
		case c.Gone != nil:
			state = "revoked"
		case c.Key != "":
			state = "enrolled"
		case time.Now().After(c.Expires):
			state = "expired"
		}
		t.Row(c.ID, string(c.Role), dash(c.Name), state, fmt.Sprint(c.Abuse), dash(c.Key))
	}
	return t.Write(out)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
