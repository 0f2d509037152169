package otlp

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Config says where spans or log records go, and what they describe. [FromEnv]
// reads it from the environment variables of OpenTelemetry.
type Config struct {
	Signal   Signal
	Endpoint string // URL that is posted to, or of the gRPC server
	GRPC     bool
	Headers  map[string]string
	Timeout  time.Duration // of all attempts at one request; 0 stands for 10 s
	Gzip     bool
	TLS      *tls.Config // or nil

	Resource map[string]string // attributes besides those of the host

	// TraceID and Parent are those of the root span; zero means a new trace.
	// If the trace is not sampled, nothing is sent.
	TraceID    [16]byte
	Parent     [8]byte
	NotSampled bool

	MaxSpans int // 0 stands for DefaultMaxSpans
}

// DefaultMaxSpans is the default limit of spans to send.
const DefaultMaxSpans = 10_000

// Signal is what is sent. Each signal has its own variables, path and service.
type Signal int

// The signals.
const (
	Traces Signal = iota
	Logs
)

var signals = [...]struct{ variable, path, procedure string }{
	Traces: {"TRACES_", "traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"},
	Logs:   {"LOGS_", "logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"},
}

// String returns "traces" or "logs".
func (s Signal) String() string { return signals[s].path }

// FromEnv reads the configuration of a signal: OTEL_EXPORTER_OTLP_ENDPOINT,
// _PROTOCOL, _HEADERS, _TIMEOUT, _COMPRESSION, _CERTIFICATE, _CLIENT_KEY and
// _CLIENT_CERTIFICATE, each of which may be given for one signal alone
// (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT), OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, and TRACEPARENT.
func FromEnv(getenv func(string) string, signal Signal) (*Config, error) {
	return Read(nil, getenv, signal)
}

// Read is FromEnv with settings that override the variables. Their names are
// the last words: "endpoint" overrides OTEL_EXPORTER_OTLP_ENDPOINT.
func Read(settings map[string]string, getenv func(string) string, signal Signal) (*Config, error) {
	c := &Config{Signal: signal, Headers: map[string]string{}, Resource: map[string]string{}}
	option := func(name string) (value, from string, own bool) {
		if v := strings.TrimSpace(settings[strings.ToLower(name)]); v != "" {
			return v, strings.ToLower(name), false
		}
		const all = "OTEL_EXPORTER_OTLP_"
		if v := strings.TrimSpace(getenv(all + signals[signal].variable + name)); v != "" {
			return v, all + signals[signal].variable + name, true
		}
		return strings.TrimSpace(getenv(all + name)), all + name, false
	}
	switch v, name, _ := option("PROTOCOL"); v {
	case "", "http/protobuf":
	case "grpc":
		c.GRPC = true
	default:
		return nil, fmt.Errorf("%s=%s: this protocol is not supported; use http/protobuf or grpc", name, v)
	}
	endpoint, name, own := option("ENDPOINT")
	if endpoint == "" {
		if endpoint = "http://localhost:4318"; c.GRPC {
			endpoint = "http://localhost:4317"
		}
	}
	if c.GRPC && !strings.Contains(endpoint, "://") {
		scheme := "https://"
		if v, _, _ := option("INSECURE"); strings.EqualFold(v, "true") {
			scheme = "http://"
		}
		endpoint = scheme + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s=%s: this is no URL of a collector; give one such as http://localhost:4318", name, endpoint)
	}
	if !own && !c.GRPC {
		u = u.JoinPath("v1", signals[signal].path)
	}
	c.Endpoint = u.String()
	v, name, _ := option("HEADERS")
	if err := pairs(c.Headers, v); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if v, name, _ := option("TIMEOUT"); v != "" {
		ms, err := strconv.Atoi(v)
		if err != nil || ms < 0 {
			return nil, fmt.Errorf("%s=%s: this is not a number of milliseconds", name, v)
		}
		c.Timeout = time.Duration(ms) * time.Millisecond
	}
	switch v, name, _ := option("COMPRESSION"); v {
	case "", "none":
	case "gzip":
		c.Gzip = true
	default:
		return nil, fmt.Errorf("%s=%s: this compression is not supported; use gzip or none", name, v)
	}
	if c.TLS, err = tlsOf(option); err != nil {
		return nil, err
	}
	if err := pairs(c.Resource, getenv("OTEL_RESOURCE_ATTRIBUTES")); err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if v := getenv("OTEL_SERVICE_NAME"); v != "" {
		c.Resource["service.name"] = v
	}
	c.inherit(getenv("TRACEPARENT"))
	return c, nil
}

// pairs reads a list like a=b,c=d, with percent-encoded values.
func pairs(to map[string]string, list string) error {
	for part := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		k = strings.TrimSpace(k)
		value, err := url.PathUnescape(strings.TrimSpace(v))
		if !ok || k == "" || err != nil {
			return fmt.Errorf("%q is not key=value; write a list such as a=b,c=d", part)
		}
		to[k] = value
	}
	return nil
}

func tlsOf(option func(string) (string, string, bool)) (*tls.Config, error) {
	ca, caName, _ := option("CERTIFICATE")
	key, keyName, _ := option("CLIENT_KEY")
	cert, certName, _ := option("CLIENT_CERTIFICATE")
	if ca == "" && key == "" && cert == "" {
		return nil, nil
	}
	c := &tls.Config{}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", caName, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate is in %q", caName, ca)
		}
	}
	if key != "" || cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			name := keyName
			if key == "" || cert == "" {
				name += ", " + certName
			}
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// inherit applies a TRACEPARENT. An invalid one is ignored, as its specification
// says.
func (c *Config) inherit(traceparent string) {
	parts := strings.Split(strings.TrimSpace(traceparent), "-")
	if len(parts) < 4 || parts[0] == "00" && len(parts) != 4 || len(parts[0]) != 2 || parts[0] == "ff" ||
		len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 || traceparent != strings.ToLower(traceparent) {
		return
	}
	var trace [16]byte
	var span [8]byte
	var flags [1]byte
	if _, err := hex.Decode(trace[:], []byte(parts[1])); err != nil || trace == [16]byte{} {
		return
	}
	if _, err := hex.Decode(span[:], []byte(parts[2])); err != nil || span == [8]byte{} {
		return
	}
	if _, err := hex.Decode(flags[:], []byte(parts[3])); err != nil {
		return
	}
	c.TraceID, c.Parent, c.NotSampled = trace, span, flags[0]&1 == 0
}

// host describes the machine and taskwatch.
func host() map[string]string {
	arch := map[string]string{"arm": "arm32", "386": "x86"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	m := map[string]string{"service.name": "taskwatch", "os.type": "linux", "host.arch": arch}
	if name, err := os.Hostname(); err == nil {
		m["host.name"] = name
	}
	return m
}
