package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

const defaultTimeout = 10 * time.Second

// NewSender returns a sender for the configuration. It retries what a collector
// allows to retry, with growing pauses, until the timeout of a request.
func NewSender(cfg *Config) Sender {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg.TLS, DisableKeepAlives: true}
	if cfg.GRPC {
		var p http.Protocols
		p.SetHTTP2(true)
		p.SetUnencryptedHTTP2(true)
		transport.Protocols = &p
		transport.DisableKeepAlives = false
	}
	s := &sender{cfg: cfg, client: &http.Client{Transport: transport}}
	if cfg.GRPC {
		var opts []connect.ClientOption
		if cfg.Gzip {
			opts = append(opts, connect.WithSendGzip())
		}
		url := strings.TrimSuffix(cfg.Endpoint, "/") + signals[cfg.Signal].procedure
		if s.grpc = caller[tracepb.TracesData](s.client, url, opts); cfg.Signal == Logs {
			s.grpc = caller[logspb.LogsData](s.client, url, opts)
		}
	}
	return s
}

type sender struct {
	cfg    *Config
	client *http.Client
	grpc   func(context.Context, proto.Message, map[string]string) (*emptypb.Empty, error)
}

// caller returns what calls a service with messages of one type.
func caller[T any](client *http.Client, url string, opts []connect.ClientOption) func(context.Context, proto.Message, map[string]string) (*emptypb.Empty, error) {
	c := connect.NewClient[T, emptypb.Empty](client, url, append(opts, connect.WithGRPC())...)
	return func(ctx context.Context, data proto.Message, headers map[string]string) (*emptypb.Empty, error) {
		req := connect.NewRequest(any(data).(*T))
		for k, v := range headers {
			req.Header().Set(k, v)
		}
		resp, err := c.CallUnary(ctx, req)
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	}
}

// again is an error after which a request may be retried, after a pause.
type again struct {
	error
	after time.Duration
}

// Send sends spans or log records. The message of their data has the same bytes
// as the request of the protocol.
func (s *sender) Send(ctx context.Context, data proto.Message) (int64, error) {
	timeout := s.cfg.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer s.client.CloseIdleConnections()
	wait := 100 * time.Millisecond
	for {
		rejected, err := s.try(ctx, data)
		var retry again
		if !errors.As(err, &retry) {
			return rejected, s.failed(err)
		}
		pause := max(retry.after, wait/2+rand.N(wait/2)) // not all clients at once
		wait = min(2*wait, 5*time.Second)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return rejected, s.failed(fmt.Errorf("%w, until the time was over", retry.error))
		}
	}
}

func (s *sender) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("otlp: %s: %w; see OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_PROTOCOL", s.cfg.Endpoint, err)
}

func (s *sender) try(ctx context.Context, data proto.Message) (int64, error) {
	if s.grpc != nil {
		return s.tryGRPC(ctx, data)
	}
	body, err := proto.Marshal(data)
	if err != nil {
		return 0, err
	}
	if s.cfg.Gzip {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil {
			return 0, err
		}
		if err := z.Close(); err != nil {
			return 0, err
		}
		body = b.Bytes()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.Endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if s.cfg.Gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	for k, v := range s.cfg.Headers {
		req.Header.Set(k, v)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, again{error: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return 0, again{error: err}
	}
	switch {
	case resp.StatusCode/100 == 2:
		return rejectedIn(answer), nil
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusBadGateway,
		resp.StatusCode == http.StatusServiceUnavailable, resp.StatusCode == http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return 0, again{errors.New(resp.Status), time.Duration(seconds) * time.Second}
	}
	return 0, errors.New(resp.Status)
}

func (s *sender) tryGRPC(ctx context.Context, data proto.Message) (int64, error) {
	resp, err := s.grpc(ctx, data, s.cfg.Headers)
	if err == nil {
		return rejectedIn(resp.ProtoReflect().GetUnknown()), nil
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeAborted, connect.CodeResourceExhausted, connect.CodeOutOfRange, connect.CodeDataLoss, connect.CodeDeadlineExceeded:
		return 0, again{error: err}
	}
	return 0, err
}

// rejectedIn returns how many spans or records a response says were rejected: field 1 of
// its field 1 (partial_success).
func rejectedIn(response []byte) int64 {
	inner := fieldOf(response, 1)
	for len(inner) > 0 {
		num, kind, n := protowire.ConsumeTag(inner)
		if n < 0 {
			return 0
		}
		inner = inner[n:]
		if num == 1 && kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(inner)
			if n < 0 {
				return 0
			}
			return int64(v)
		}
		if n = protowire.ConsumeFieldValue(num, kind, inner); n < 0 {
			return 0
		}
		inner = inner[n:]
	}
	return 0
}

func fieldOf(b []byte, want protowire.Number) []byte {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		if num == want && kind == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil
			}
			return v
		}
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return nil
		}
		b = b[n:]
	}
	return nil
}

// NewFileSender returns a sender that writes OTLP JSON lines.
func NewFileSender(w io.Writer) Sender { return fileSender{w} }

type fileSender struct{ w io.Writer }

// Send writes a line. OTLP's JSON differs from protobuf's: ids are in
// hexadecimal digits, and enums are numbers.
func (f fileSender) Send(_ context.Context, data proto.Message) (int64, error) {
	text, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(data)
	if err != nil {
		return 0, err
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return 0, err
	}
	hexIDs(v)
	enc := json.NewEncoder(f.w)
	enc.SetEscapeHTML(false)
	return 0, enc.Encode(v)
}

func hexIDs(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			hexIDs(e)
		}
	case map[string]any:
		for k, e := range v {
			text, isText := e.(string)
			if isText && (k == "traceId" || k == "spanId" || k == "parentSpanId") {
				if id, err := base64.StdEncoding.DecodeString(text); err == nil {
					v[k] = hex.EncodeToString(id)
				}
				continue
			}
			hexIDs(e)
		}
	}
}
