package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
)

// Daemon holds modules and serves the interface. It is made by [New] and runs
// once.
type Daemon struct {
	cfg        Config
	log        *slog.Logger
	started    time.Time
	limits     limits
	access     access
	trust      trusted
	socket     *socket
	metrics    *metrics    // or nil
	relay      *relay      // or nil
	classifier *classifier // or nil

	source   source.Source
	passed   error // why not a better one
	host     *host.Host
	watching chan struct{} // closed when the source watches
	registry taskwatch.Registry

	hub     hub
	ring    ring
	exports exports
	logs    logs
	modules modules
	reloads sync.Mutex    // one at a time
	ending  chan struct{} // closed when streams and compilers are to end
	failed  chan error    // what ends it
	used    atomic.Bool
}

// New opens the source and takes the socket, and starts nothing. The caller
// must call Run or Close.
//
// It returns an error that matches ErrInUse if another daemon has the socket.
func New(cfg Config) (*Daemon, error) { return newDaemon(cfg, defaultLimits) }

func newDaemon(cfg Config, limits limits) (_ *Daemon, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	group, err := findGroup(cfg.Group)
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		cfg: cfg, log: cfg.Log, started: time.Now(), limits: limits, access: newAccess(group),
		watching: make(chan struct{}), ending: make(chan struct{}), failed: make(chan error, 1),
	}
	keys, err := cfg.Trust.Read()
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	d.trust.set(keys)
	if err := d.checkOTLP(&cfg.OTLP); err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	d.modules.init()
	d.ring = ring{reg: &d.registry, copies: &d.hub.copies, limit: limits.ring, kept: limits.comeBack}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if err := d.hub.start(&d.registry, limits.streams); err != nil {
		return nil, err
	}
	if d.socket, err = listen(cfg.Socket, group); err != nil {
		return nil, err
	}
	if cfg.Metrics != "" {
		if d.metrics, err = d.listenMetrics(cfg.Metrics); err != nil {
			return nil, err
		}
	}
	if cfg.Connector != "" {
		if err := d.openRelay(cfg.Connector, group); err != nil {
			return nil, err
		}
	}
	if cfg.Classify != "" {
		if err := d.openClassifier(cfg.Classify); err != nil {
			return nil, err
		}
	}
	if err := d.openLogs(cfg.Logs); err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	d.source, d.passed, err = cfg.Open(sync.OnceFunc(func() { close(d.watching) }), func(short *source.Shortage) {
		d.log.Error("some events do not come", "events", short.Kinds.String(), "error", auto.OneLine(short.Err))
	})
	if err != nil {
		d.source = nil // it may be a nil pointer
		return nil, err
	}
	d.host = &host.Host{
		Source: d.source, Registry: &d.registry, NoKernel: d.passed,
		Log: func(module string, level slog.Level, text string) {
			d.log.Log(context.Background(), level, text, "module", module)
		},
	}
	return d, nil
}

// Close gives back what New has taken, for a daemon that is not run. It does
// nothing once Run was called.
func (d *Daemon) Close() error {
	if d.used.Swap(true) {
		return nil
	}
	var errs []error
	if d.source != nil {
		errs = append(errs, d.source.Close())
	}
	return errors.Join(append(errs, d.closeOpened(), d.closeListeners())...)
}

// fail has the daemon end with an error. The first one counts.
func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

// Run loads the modules of the configuration and serves until ctx ends. It
// returns nil then, and an error if the source or the server fails. Once it
// has returned, nothing of the daemon and its modules is left.
func (d *Daemon) Run(ctx context.Context) error {
	if d.used.Swap(true) {
		return errors.New("daemon: it can run only once; make another with New")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, stop := context.WithCancel(context.Background()) // the source ends last
	ended := make(chan error, 1)
	go func() {
		err := d.source.Run(watch, &d.registry)
		if err == nil && watch.Err() == nil {
			err = fmt.Errorf("daemon: the source %s has ended by itself", d.source.Name())
		}
		cancel()
		ended <- err
	}()
	var err error
	select {
	case <-d.watching:
		err = d.work(ctx)
	case <-ctx.Done():
		err = errors.Join(d.closeOpened(), d.closeListeners())
	}
	stop()
	err = errors.Join(<-ended, err)
	d.log.Info("ended")
	return err
}

// work is what a daemon does while its source runs.
func (d *Daemon) work(ctx context.Context) error {
	d.log.Info("serving", "socket", d.cfg.Socket, "source", d.source.Name(), "pid", os.Getpid())
	if d.passed != nil {
		d.log.Warn("not the best source", "reason", auto.OneLine(d.passed))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failure error
	watcher := make(chan struct{})
	go func() {
		defer close(watcher)
		select {
		case failure = <-d.failed:
			cancel()
		case <-ctx.Done():
		}
	}()
	stop := context.AfterFunc(ctx, func() { close(d.ending) })
	if err := d.startLogs(ctx); err != nil {
		d.log.Error("not all logs are written", "error", err)
	}
	if err := d.startExports(ctx, d.cfg.OTLP); err != nil {
		d.log.Error("nothing is sent to a collector", "error", err)
	}
	if err := d.classifier.start(); err != nil {
		d.log.Error("no process is moved", "error", err)
	}
	d.loadConfigured(ctx, d.cfg.Modules)
	if d.relay != nil {
		d.log.Info("connector", "socket", d.cfg.Connector)
		d.relay.start(func(err error) { d.log.Error("the connector's socket takes no more programs", "error", err) })
	}
	if d.cfg.OnReady != nil {
		d.cfg.OnReady()
	}
	var metrics sync.WaitGroup
	if d.metrics != nil {
		d.log.Info("metrics", "address", d.metrics.listener.Addr().String())
		metrics.Go(func() {
			if err := d.metrics.serve(ctx); err != nil {
				d.log.Error("the metrics are no longer served", "error", err)
			}
		})
	}
	err := d.serve(ctx)
	if stop() {
		close(d.ending) // the server has failed
	}
	var errs []error
	for _, name := range d.modules.close() {
		errs = append(errs, d.unload(name))
	}
	d.classifier.end()
	d.ring.end()
	d.endExports()
	d.endLogs()
	cancel()
	<-watcher
	errs = append(errs, failure, err, d.closeListeners())
	metrics.Wait()
	return errors.Join(errs...)
}

// closeListeners gives the sockets and the address of the metrics back.
func (d *Daemon) closeListeners() error {
	var errs []error
	if d.metrics != nil {
		if err := d.metrics.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if d.relay != nil {
		errs = append(errs, d.relay.close())
	}
	if d.socket != nil {
		errs = append(errs, d.socket.Close())
	}
	return errors.Join(errs...)
}

// Alive returns nil once the source, the table in the kernel and the list of
// modules have answered.
func (d *Daemon) Alive(ctx context.Context) error {
	if err := d.refresh(ctx, 0, false); err != nil {
		return err
	}
	_, err := d.list()
	return err
}

// detach has what has happened delivered to a sink, and detaches it.
func (d *Daemon) detach(ctx context.Context, s taskwatch.Sink) error {
	d.flush(ctx)
	return d.registry.Detach(ctx, s)
}

// flush has what has happened delivered.
func (d *Daemon) flush(ctx context.Context) {
	// It is delivered behind the first round of the source that begins from here
	// on. One may be under way.
	for range 2 {
		_ = d.refresh(ctx, 0, false) // if the source has failed, there is no more to come
	}
}

// refresh returns once the source gathers what is watched now, or an error
// where that is not so for some of these events.
func (d *Daemon) refresh(ctx context.Context, kinds taskwatch.Kinds, failedExecs bool) error {
	if r, ok := d.source.(source.Refresher); ok {
		return source.ShortOf(r.Refresh(ctx), kinds, failedExecs)
	}
	return nil
}
