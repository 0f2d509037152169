package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/hub"
)

// takes says which flags each command takes. The one without a name serves.
var takes = map[string][]string{
	"":            {"dir", "listen", "host", "nats", "nats-ca", "replicas"},
	"nats-config": {"dir"},
	"enroll":      {"dir", "role", "name", "life"},
	"clients":     {"dir", "f", "format"},
	"revoke":      {"dir"},
	"version":     {},
	"man":         {},
}

// seeHelp ends the error of a command line.
const seeHelp = "; see 'taskwatch-hub --help'"

// options are what a command line says.
type options struct {
	command, dir     string
	listen           string
	hosts            []string
	servers, ca      string
	replicas         int
	role, name, form string
	life             time.Duration
	args             []string // that are no flags
}

// parse reads a command line.
func parse(args []string) (*options, error) {
	o := &options{}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.command, args = args[0], args[1:]
	}
	allowed, known := takes[o.command]
	switch {
	case o.command == "help":
		return nil, flag.ErrHelp
	case !known:
		return nil, fmt.Errorf("unknown command %q%s", o.command, seeHelp)
	}
	flags := flag.NewFlagSet("taskwatch-hub", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.dir, "dir", "", "")
	flags.StringVar(&o.listen, "listen", hub.DefaultListen, "")
	flags.StringVar(&o.role, "role", string(fleet.Node), "")
	flags.StringVar(&o.name, "name", "", "")
	flags.DurationVar(&o.life, "life", 24*time.Hour, "")
	flags.StringVar(&o.servers, "nats", "", "")
	flags.StringVar(&o.ca, "nats-ca", "", "")
	flags.IntVar(&o.replicas, "replicas", 0, "")
	flags.StringVar(&o.form, "f", "text", "")
	flags.StringVar(&o.form, "format", "text", "")
	flags.Func("host", "", func(s string) error { o.hosts = append(o.hosts, s); return nil })
	for len(args) > 0 { // flags may stand behind other arguments
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, fmt.Errorf("%w%s", err, seeHelp)
		}
		if args = flags.Args(); len(args) > 0 {
			o.args, args = append(o.args, args[0]), args[1:]
		}
	}
	var foreign []string
	flags.Visit(func(f *flag.Flag) {
		if !slices.Contains(allowed, f.Name) {
			foreign = append(foreign, f.Name)
		}
	})
	if len(foreign) > 0 {
		return nil, fmt.Errorf("--%s is not for '%s'%s", foreign[0], strings.TrimSpace("taskwatch-hub "+o.command), seeHelp)
	}
	return o, o.check()
}

// check returns the error of a command line that makes no sense.
func (o *options) check() error {
	switch {
	case o.command == "version", o.command == "man":
		return nil
	case o.command == "" && len(o.args) > 0 && takes[o.args[0]] != nil:
		return fmt.Errorf("the command comes first: taskwatch-hub %s --dir DIR%s", o.args[0], seeHelp)
	case o.dir == "":
		return errors.New("no directory given: --dir DIR" + seeHelp)
	case o.command == "revoke" && len(o.args) != 1:
		return errors.New("give one client: taskwatch-hub revoke --dir DIR NAME|KEY|TOKEN")
	case o.command != "revoke" && len(o.args) > 0:
		return fmt.Errorf("unexpected argument %q%s", o.args[0], seeHelp)
	case o.life <= 0:
		return fmt.Errorf("--life %v: give a time above 0", o.life)
	case o.form != "text" && o.form != "json":
		return fmt.Errorf("--format %q: give text or json", o.form)
	}
	return nil
}
