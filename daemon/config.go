package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// DefaultSocket is the path of the socket where no other is given.
const DefaultSocket = "/run/taskwatch/taskwatch.sock"

// Config configures a daemon. The zero value is usable.
type Config struct {
	// Socket is the path of the socket; "" stands for DefaultSocket. Its
	// directory is created only if it is directly below /run or XDG_RUNTIME_DIR;
	// any other has to exist.
	Socket string

	// Group is the name or the number of the group that may read: list,
	// describe, stream. Without it only root and the daemon's user may. Only
	// these two may load and unload.
	Group string

	// Open opens the source that the events come from; nil opens the one of the
	// name Source. The source must call ready once it watches, and short
	// whenever watched events cannot be delivered. passed may say why a better
	// source was not used.
	Open func(ready func(), short func(*source.Shortage)) (src source.Source, passed error, err error)

	// Source is the name of a source, as [auto.Open] takes it; "" stands for
	// the best that works.
	Source string

	// Modules are loaded at the start. One that cannot be loaded is logged,
	// and the others run.
	Modules []ModuleConfig

	// Trust has the keys that modules must be signed by.
	Trust Trust

	// Logs are the files that items are written to.
	Logs []LogConfig

	// OTLP configures what the daemon sends to a collector.
	OTLP OTLP

	// ContainerNames returns what looks up the names of containers, for
	// expressions that ask for them; nil leaves them unknown. It is called at the
	// first such expression, and may be called again. The daemon does not close it.
	ContainerNames func() *enrich.Names

	// NoCallStats leaves the calls of kernel modules uncounted and untimed.
	NoCallStats bool

	// Sandbox parses modules for the sandbox; nil compiles them in this
	// process and keeps nothing of that.
	Sandbox *wasm.Parser

	// Metrics is the loopback address, with port, on which metrics for
	// Prometheus are served; "" is nowhere.
	Metrics string

	// Connector is the path of a socket (SOCK_SEQPACKET) at which programs get the
	// records of the module [ConnectorModule] as from the kernel's process events
	// connector; "" is nowhere. Its place and its group are as those of Socket.
	Connector string

	// Classify is a file with rules, as those of cgrules.conf, by which the module
	// [ClassifyModule] decides: the daemon moves processes as it does. "" is none.
	// It is read again whenever the module is loaded or replaced.
	Classify string

	// ClassifyGuard is the command line of a process that calls [RunClassifyGuard].
	// It is started for each module [ClassifyModule] that stops processes until they
	// are moved; nil rejects such a module.
	ClassifyGuard []string

	// Log gets the daemon's messages; nil discards them.
	Log *slog.Logger

	// Version is what the daemon says it is.
	Version string

	// OnReady, if set, is called once when the interface is served and the
	// modules of Modules have been tried.
	OnReady func()
}

// ModuleConfig is a module that the configuration wants loaded.
type ModuleConfig struct {
	Name   string            // "" stands for the name of the file
	File   string            // absolute, or relative to the working directory; or the name of a stock module
	Params map[string]string // by name

	// AllowObserveOnly loads a module that wants to deny something even if
	// nothing can be denied.
	AllowObserveOnly bool

	// AllowBestEffort loads it even if the kernel may skip its denials.
	AllowBestEffort bool
}

func (c *Config) check() error {
	if c.Sandbox == nil {
		c.Sandbox = &wasm.Parser{}
	}
	if c.Socket == "" {
		c.Socket = DefaultSocket
	}
	for _, path := range []string{c.Socket, c.Connector} {
		if len(path) > maxSocketPath {
			return fmt.Errorf("daemon: the path of the socket has %d bytes and may have %d: %q", len(path), maxSocketPath, path)
		}
	}
	if c.Source == "" {
		c.Source = auto.Name
	}
	if c.Open == nil {
		c.Open = c.openAuto
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics != "" {
		if err := checkLoopback(c.Metrics); err != nil {
			return fmt.Errorf("daemon: metrics on %q: %w", c.Metrics, err)
		}
	}
	var err error
	c.Modules, err = checkModules(c.Modules)
	return err
}

// openAuto opens a source of this machine.
func (c *Config) openAuto(ready func(), short func(*source.Shortage)) (source.Source, error, error) {
	return auto.Open(c.Source, auto.Config{Config: bpf.Config{
		CallStats: !c.NoCallStats, OnReady: ready, OnShortage: short, Narrow: true,
	}})
}

// maxSocketPath is what fits into struct sockaddr_un.
const maxSocketPath = 107

// checkModules returns the list with the names filled in.
func checkModules(list []ModuleConfig) ([]ModuleConfig, error) {
	list = slices.Clone(list)
	seen := map[string]bool{}
	for i := range list {
		m := &list[i]
		if m.File == "" {
			return nil, fmt.Errorf("daemon: module %q of the configuration has no file", m.Name)
		}
		if m.Name == "" {
			m.Name = module.NameOf(m.File)
		}
		if err := module.CheckName(m.Name); err != nil {
			return nil, fmt.Errorf("daemon: module %q of the configuration: %w", m.File, err)
		}
		if seen[m.Name] {
			return nil, fmt.Errorf("daemon: module %q is twice in the configuration; give one of them another name", m.Name)
		}
		seen[m.Name] = true
	}
	return list, nil
}

// checkLoopback rejects addresses that others can reach: what is running on a
// machine is nobody else's business.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("it is not on the loopback interface, and the metrics have no access control; use 127.0.0.1 or [::1], with a proxy that controls access")
}
