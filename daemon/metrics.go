package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
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
	metricInfo     = newMetric("build_info", "The daemon; always 1.", "version", "source")
	metricStarted  = newMetric("start_time_seconds", "When the daemon was started.")
	metricLost     = newMetric("lost_events_total", "Events that the source has lost.")
	metricStreams  = newMetric("streams", "Streams of events that are open.")
	metricUnread   = newMetric("stream_lost_lines_total", "Lines that streams have lost because their clients read too slowly.")
	metricModule   = newMetric("module_info", "A module; always 1.", "module", "kind", "origin", "state")
	metricRefs     = newMetric("module_references", "Events that the module is registered for.", "module")
	metricCalls    = newMetric("module_calls_total", "Calls of the module's watchers.", "module")
	metricErrors   = newMetric("module_errors_total", "Errors and crashes of the module's watchers.", "module")
	metricVetoes   = newMetric("module_vetoes_total", "Operations that the module has refused.", "module")
	metricMissed   = newMetric("module_missed_calls_total", "Calls of the module's watchers that the kernel has passed by.", "module")
	metricSkipped  = newMetric("module_skipped_vetoes_total", "Operations that passed although the module might have refused them.", "module")
	metricDrops    = newMetric("module_dropped_events_total", "Events that found no room in the module's queue.", "module")
	metricCallMean = newMetric("module_call_mean_seconds", "How long a call takes on average.", "module")
	metricCallP99  = newMetric("module_call_p99_seconds", "How long 99 of 100 calls take at most.", "module")

	allMetrics = []*prometheus.Desc{
		metricInfo, metricStarted, metricLost, metricStreams, metricUnread, metricModule, metricRefs, metricCalls,
		metricErrors, metricVetoes, metricMissed, metricSkipped, metricDrops, metricCallMean, metricCallP99,
	}
)

func newMetric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("taskwatch_"+name, help, labels, nil)
}

// exporter reads the counters when Prometheus asks.
type exporter struct{ d *Daemon }

func (d *Daemon) collector() prometheus.Collector { return exporter{d} }

// Describe implements prometheus.Collector.
func (c exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range allMetrics {
		ch <- m
	}
}

// Collect implements prometheus.Collector.
func (c exporter) Collect(ch chan<- prometheus.Metric) {
	gauge := func(m *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m, prometheus.GaugeValue, value, labels...)
	}
	counter := func(m *prometheus.Desc, value uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m, prometheus.CounterValue, float64(value), labels...)
	}
	d := c.d
	gauge(metricInfo, 1, d.cfg.Version, d.source.Name())
	gauge(metricStarted, float64(d.started.UnixMilli())/1000)
	counter(metricLost, d.hub.lost.Load())
	gauge(metricStreams, float64(d.hub.count()))
	counter(metricUnread, d.hub.losses())
	list, err := d.list()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(metricModule, err)
		return
	}
	for _, m := range list {
		gauge(metricModule, 1, m.Name, m.Kind, m.Origin, m.State)
		gauge(metricRefs, float64(m.References), m.Name)
		counter(metricErrors, m.GetCalls().GetErrors(), m.Name)
		counter(metricVetoes, m.GetCalls().GetVetoes(), m.Name)
		counter(metricMissed, m.Missed, m.Name)
		counter(metricSkipped, m.Skipped, m.Name)
		counter(metricDrops, m.Drops, m.Name)
		if calls := m.GetCalls(); calls.GetTimed() {
			counter(metricCalls, calls.Calls, m.Name)
			gauge(metricCallMean, time.Duration(calls.MeanNs).Seconds(), m.Name)
			gauge(metricCallP99, time.Duration(calls.P99Ns).Seconds(), m.Name)
		}
	}
}
