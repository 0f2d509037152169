package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// metrics is the endpoint for Prometheus.
type metrics struct {
	listener net.Listener
	server   *http.Server
}

// listenMetrics takes the address, and serves nothing yet.
func (d *Daemon) listenMetrics(address string) (*metrics, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("daemon: metrics: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(d.collector(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn), MaxRequestsInFlight: 4, Timeout: d.limits.body,
	}))
	return &metrics{listener: l, server: &http.Server{
		Handler: mux, ReadHeaderTimeout: d.limits.header, ReadTimeout: d.limits.header, WriteTimeout: d.limits.body,
		IdleTimeout: d.limits.idle, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}}, nil
}

// serve serves until ctx ends.
func (m *metrics) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { m.server.Close() })
	defer stop()
	if err := m.server.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// gauges and counters of the daemon and of each module.
var (
	metricInfo    = newMetric("build_info", "The daemon; always 1.", "version", "source")
	metricStarted = newMetric("start_time_seconds", "When the daemon was started.")
	metricLost    = newMetric("lost_events_total", "Events that the source has lost.")
	metricStreams = newMetric("streams", "Streams of events that are open.")
	metricUnread  = newMetric("stream_lost_lines_total", "Lines that streams have lost because their clients read too slowly.")
	metricModule  = newMetric("module_info", "A module; always 1.", "module", "kind", "origin", "state")
	metricRefs    = newMetric("module_references", "Events that the module is registered for.", "module")
	metricCalls   = newMetric("module_calls_total", "Calls of the module's watchers.", "module")
	metricErrors  = newMetric("module_errors_total", "Errors and crashes of the module's watchers.", "module")
	metricVetoes  = newMetric("module_vetoes_total", "Operations that the module has denied.", "module")
	metricMissed  = newMetric("module_missed_calls_total", "Calls of the module's watchers that the kernel has skipped.", "module")
	metricSkipped = newMetric("module_skipped_vetoes_total", "Operations that passed although the module might have denied them.", "module")
	metricDrops   = newMetric("module_dropped_events_total", "Events that found no room in the module's queue.", "module")
	metricTime    = newMetric("module_call_duration_seconds", "How long a call takes; of a module in the sandbox every 16th is measured.", "module")
	metricQueue   = newMetric("module_queued_events", "Events that wait in the module's queue.", "module")
	metricGlobal  = newMetric("module_global", "A numeric variable of the module.", "module", "name")
	metricLeftOut = newMetric("module_globals_left_out", "Numeric variables of the module that are left out, because there are too many.", "module")
	metricEvents  = newMetric("events_total", "Events that the source has delivered to sandbox modules and streams.", "event")
	metricLosses  = newMetric("losses_total", "Losses: by the source, by streams whose clients read too slowly, by the full queues of modules, on the way to a log or a collector, and calls that the kernel has skipped.", "cause")
	metricSent    = newMetric("export_sent_total", "Log records or spans that a collector has taken.", "signal")
	metricUnsent  = newMetric("export_lost_total", "Items that no collector has got: those that found no room in the queue, and log records or spans that the collector rejected or that could not be sent.", "signal", "cause")
	metricToSend  = newMetric("export_queued_bytes", "Bytes of items that wait to be sent to a collector, about.", "signal")
	metricLogLost = newMetric("log_lost_total", "Items that a log lacks: those that found no room in memory, and those that could not be written.", "log", "cause")
	metricToLog   = newMetric("log_queued_bytes", "Bytes of items that wait to be written to a log, about.", "log")
	metricRelay   = newMetric("connector_lost_messages_total", "Messages of the module cnproc that programs have lost because they read too slowly.")
	metricMoved   = newMetric("classify_processes_total", "Processes that were moved into a control group (moved), and that could not be (failed), and items that were lost, which may have been decisions (lost).", "outcome")
	metricRing    = newMetric("stream_history_bytes", "Bytes of items that are kept for streams that are cut, about.")
	metricWaiting = newMetric("stream_queued_bytes", "Bytes of items that wait for the clients of streams, about.")

	allMetrics = []*prometheus.Desc{
		metricInfo, metricStarted, metricLost, metricStreams, metricUnread, metricModule, metricRefs, metricCalls,
		metricErrors, metricVetoes, metricMissed, metricSkipped, metricDrops, metricTime, metricQueue,
		metricGlobal, metricLeftOut, metricEvents, metricLosses, metricWaiting, metricSent, metricUnsent, metricToSend, metricLogLost, metricToLog, metricRing, metricRelay, metricMoved,
	}
)

func newMetric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("taskwatch_"+name, help, labels, nil)
}

// collected reads the counters when Prometheus asks.
type collected struct{ d *Daemon }

func (d *Daemon) collector() prometheus.Collector { return collected{d} }

// Describe implements prometheus.Collector.
func (c collected) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range allMetrics {
		ch <- m
	}
}

// Collect implements prometheus.Collector.
func (c collected) Collect(ch chan<- prometheus.Metric) {
	s := scrape{d: c.d, ch: ch, losses: map[string]uint64{
		"source": c.d.hub.lost.Load(), "stream": c.d.hub.losses(), "module_queue": 0, "missed_call": 0,
	}}
	s.items()
	s.exports()
	s.helpers()
	s.logs()
	numbers := s.modules()
	for cause, n := range s.losses {
		s.counter(metricLosses, n, cause)
	}
	s.numbers(numbers)
}

// scrape is one answer to Prometheus.
type scrape struct {
	d      *Daemon
	ch     chan<- prometheus.Metric
	losses map[string]uint64 // by cause
}

func (s *scrape) gauge(m *prometheus.Desc, value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(m, prometheus.GaugeValue, value, labels...)
}

func (s *scrape) counter(m *prometheus.Desc, value uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(m, prometheus.CounterValue, float64(value), labels...)
}

// items is about the source, what it has delivered, and the streams of clients.
func (s *scrape) items() {
	d := s.d
	s.gauge(metricInfo, 1, d.cfg.Version, d.source.Name())
	s.gauge(metricStarted, float64(d.started.UnixMilli())/1000)
	s.counter(metricLost, d.hub.lost.Load())
	s.gauge(metricStreams, float64(d.hub.count()))
	s.counter(metricUnread, d.hub.losses())
	s.gauge(metricWaiting, float64(d.hub.waiting()))
	for k, n := range d.registry.Delivered() {
		s.counter(metricEvents, n, taskwatch.Kind(k).String())
	}
	s.gauge(metricRing, float64(d.ring.size()))
}

func (s *scrape) exports() {
	for _, e := range s.d.exports.counts() {
		s.counter(metricSent, e.sent, e.signal.String())
		s.gauge(metricToSend, float64(e.waiting), e.signal.String())
		for cause, n := range e.lost {
			s.counter(metricUnsent, n, e.signal.String(), cause)
			s.losses["export"] += n
		}
	}
}

// helpers is about the daemon's relay of the connector and its classifier.
func (s *scrape) helpers() {
	if r := s.d.relay; r != nil {
		s.counter(metricRelay, r.server.Dropped())
		s.losses["connector"] = r.server.Dropped()
	}
	if c := s.d.classifier; c != nil {
		s.counter(metricMoved, c.moved.Load(), "moved")
		s.counter(metricMoved, c.failed.Load(), "failed")
		s.counter(metricMoved, c.lost.Load(), "lost")
	}
}

func (s *scrape) logs() {
	for _, slot := range s.d.logs.all() {
		lost := slot.losses()
		s.counter(metricLogLost, lost.queue, slot.name, "queue")
		s.counter(metricLogLost, lost.file, slot.name, "file")
		s.gauge(metricToLog, float64(slot.now().queue.Waiting()), slot.name)
		s.losses["log"] += lost.queue + lost.file
	}
}

// modules returns the modules whose variables can be read.
func (s *scrape) modules() (numbers []*numbersOf) {
	for _, v := range s.d.modules.views() {
		m, err := v.proto()
		if errors.Is(err, kernel.ErrClosed) {
			continue // it is just being unloaded
		}
		if err != nil {
			s.ch <- prometheus.NewInvalidMetric(metricModule, err)
			continue
		}
		s.gauge(metricModule, 1, m.Name, m.Kind, m.Origin, m.State)
		s.gauge(metricRefs, float64(m.References), m.Name)
		s.counter(metricErrors, m.GetCalls().GetErrors(), m.Name)
		s.counter(metricVetoes, m.GetCalls().GetVetoes(), m.Name)
		s.counter(metricMissed, m.Missed, m.Name)
		s.counter(metricSkipped, m.Skipped, m.Name)
		s.counter(metricDrops, m.Drops, m.Name)
		s.losses["module_queue"] += m.Drops
		s.losses["missed_call"] += m.Missed
		if v.module == nil {
			continue
		}
		if st, err := v.module.Stats(); err == nil {
			s.gauge(metricQueue, float64(st.Queued), m.Name)
			if c := &st.Calls; c.Timed {
				s.counter(metricCalls, c.Calls, m.Name)
				count, below := cumulate(c.Histogram)
				s.ch <- prometheus.MustNewConstHistogram(metricTime, count, c.Time.Seconds(), below, m.Name)
			}
		}
		numbers = append(numbers, &numbersOf{name: m.Name, module: v.module})
	}
	return numbers
}

// numbers shows the variables of modules, as many as there may be.
func (s *scrape) numbers(list []*numbersOf) {
	readNumbers(list)
	room := maxSeries
	for _, n := range list {
		shown := n.values[:min(len(n.values), maxSeriesOfModule, room)]
		room -= len(shown)
		for _, v := range shown {
			s.gauge(metricGlobal, v.value, n.name, v.name)
		}
		s.gauge(metricLeftOut, float64(len(n.values)-len(shown)), n.name)
	}
}

// Every variable is a series, which Prometheus keeps.
const (
	maxSeriesOfModule = 64
	maxSeries         = 512
)

// cumulate returns calls in the form of Prometheus, whose buckets hold all
// that took less than their limit: every second power of two from 256 ns to 1 s.
func cumulate(buckets []host.Bucket) (count uint64, below map[float64]uint64) {
	below = map[float64]uint64{}
	for i, b := range buckets {
		count += b.Calls
		if b.Below >= 256 && b.Below <= 2*time.Second && i%2 == 1 {
			below[b.Below.Seconds()] = count
		}
	}
	return count, below
}

// number is a variable that is one.
type number struct {
	name  string
	value float64
}

// numbersOf are those of a module that are no parameters.
type numbersOf struct {
	name   string
	module host.Module
	values []number
}

// readNumbers reads the numeric variables of modules, all at once: one that is
// stuck takes a second.
func readNumbers(list []*numbersOf) {
	var all sync.WaitGroup
	for _, n := range list {
		all.Go(func() {
			globals, err := n.module.Globals(context.Background())
			if err != nil {
				return // it is busy or gone, or they are too large
			}
			for _, g := range globals {
				if v, ok := toNumber(g.Value); ok && !g.Param {
					n.values = append(n.values, number{g.Name, v})
				}
			}
		})
	}
	all.Wait()
}

func toNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
