package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

// curl runs curl against the daemon and returns what it says, JSON without
// spaces: protobuf puts some in, others in every build.
func (r *running) curl(t testing.TB, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), testutil.RequireTool(t, "curl"), append([]string{"-sg", "--unix-socket", r.socket}, args...)...)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("curl %q: %v", args, err)
	}
	var tight bytes.Buffer
	if json.Compact(&tight, out) == nil {
		return tight.String()
	}
	return string(out)
}

func (r *running) post(t testing.TB, procedure, body string) string {
	t.Helper()
	return r.curl(t, "-H", "Content-Type: application/json", "-d", body, "http://daemon/taskwatch.v1.Daemon/"+procedure)
}

// dialGRPC connects with the gRPC library of Google.
func (r *running) dialGRPC(t testing.TB) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("unix://"+r.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The same daemon talks with curl, gRPC and Connect, in JSON and binary, over
// HTTP/1.1 and HTTP/2, and says the same to all.
func TestClients(t *testing.T) {
	file := kernelFile(t, execCounter)
	r := start(t, Config{})

	// curl loads, gRPC lists, Connect with JSON reads, curl unloads.
	load, err := json.Marshal(map[string]any{
		"name": "count", "file": base64.StdEncoding.EncodeToString(file), "params": map[string]string{"uid": "-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.post(t, "Load", string(load)); !strings.Contains(got, `"state":"live"`) {
		t.Fatalf("curl, Load: %s", got)
	}
	g := r.dialGRPC(t)
	var list api.ListResponse
	if err := g.Invoke(t.Context(), api.DaemonListProcedure, &api.ListRequest{}, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Modules) != 1 || list.Modules[0].Name != "count" || list.Modules[0].References != 2 {
		t.Errorf("gRPC, List: %v", &list)
	}
	err = g.Invoke(t.Context(), api.DaemonInfoProcedure, &api.InfoRequest{Name: "none"}, new(api.InfoResponse))
	if s, _ := status.FromError(err); s.Code() != codes.NotFound || !strings.Contains(s.Message(), `"none": not registered`) {
		t.Errorf("gRPC, Info of a module that is not there: %v", err)
	}
	h1 := &http.Client{Transport: r.Client.transport}
	withJSON := api.NewDaemonClient(h1, "http://daemon", connect.WithProtoJSON(), connect.WithHTTPGet())
	info, err := withJSON.Info(t.Context(), connect.NewRequest(&api.InfoRequest{Name: "count"}))
	if err != nil || info.Msg.Description != "counts execs and exits" {
		t.Errorf("Connect with JSON, Info: %v, %v", info, err)
	}
	if got := r.curl(t, `http://daemon/taskwatch.v1.Daemon/Params?connect=v1&encoding=json&message={"name":"count"}`); !strings.Contains(got, `"name":"uid"`) {
		t.Errorf("curl, GET Params: %s", got)
	}
	if got := r.post(t, "Unload", `{"name":"count"}`); got != "{}" {
		t.Errorf("curl, Unload: %s", got)
	}
	if got := r.post(t, "Unload", `{"name":"count"}`); !strings.Contains(got, `"code":"not_found"`) || !strings.Contains(got, "not registered") {
		t.Errorf("curl, Unload again: %s", got)
	}
	if got := r.post(t, "Unload", `{"name":`); !strings.Contains(got, `"code":"invalid_argument"`) {
		t.Errorf("curl, half a request: %s", got)
	}
}

// collector gathers the lines of a stream.
type collector struct {
	execs, lines int
	lost         uint64
}

// add takes lines, and reports whether the stream has what it is to have.
func (c *collector) add(t testing.TB, text string, execs int) bool {
	t.Helper()
	in := record.NewReader(strings.NewReader(text), "stream")
	for {
		l, err := in.Next()
		if errors.Is(err, io.EOF) {
			return c.execs >= execs
		}
		if err != nil {
			t.Errorf("no line of a recording: %v", err)
			return true
		}
		if l.Start == nil { // which each stream has
			c.lines++
		}
		if l.Loss != nil {
			c.lost += l.Loss.Count
		}
		if l.Event != nil && l.Event.Kind == taskwatch.Exec {
			c.execs++
		}
	}
}

// Every client that asks for the execs of a user gets exactly those.
func TestStreams(t *testing.T) {
	testutil.Root(t)
	r := start(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	const n = 40
	request := &api.EventsRequest{Events: []string{"exec"}, Filter: &api.Filter{Uid: []uint32{stranger}, Exe: "/"}}

	type result struct {
		name string
		got  collector
	}
	results := make(chan result, 4) // nobody waits for them after a failure
	var ready []chan struct{}
	begin := func() chan struct{} {
		ch := make(chan struct{})
		ready = append(ready, ch)
		return ch
	}

	// gRPC
	stream, err := r.dialGRPC(t).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, api.DaemonEventsProcedure)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stream.SendMsg(request), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	begun := begin()
	go func() {
		var c collector
		for first := true; ; first = false {
			var m api.EventsResponse
			if err := stream.RecvMsg(&m); err != nil {
				t.Errorf("gRPC: %v", err)
				break
			}
			if first {
				close(begun)
			}
			if c.add(t, m.Lines, n+1) {
				break
			}
		}
		results <- result{"gRPC", c}
	}()

	// Connect, binary and JSON
	for name, opts := range map[string][]connect.ClientOption{"Connect": nil, "Connect with JSON": {connect.WithProtoJSON()}} {
		client := api.NewDaemonClient(&http.Client{Transport: r.Client.transport}, "http://daemon", opts...)
		stream, err := client.Events(ctx, connect.NewRequest(request))
		if err != nil {
			t.Fatal(err)
		}
		begun := begin()
		go func() {
			var c collector
			for first := true; stream.Receive(); first = false {
				if first {
					close(begun)
				}
				if c.add(t, stream.Msg().Lines, n+1) {
					break
				}
			}
			stream.Close()
			results <- result{name, c}
		}()
	}

	// curl
	curl := exec.CommandContext(ctx, "curl", "-sgN", "-D", "-", "--unix-socket", r.socket,
		"http://daemon/events?events=exec&uid=34572&exe=/")
	out, err := curl.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := curl.Start(); err == nil {
		begun := begin()
		go func() {
			c := collectFromCurl(t, out, n+1, begun)
			results <- result{"curl", c}
		}()
		defer func() {
			cancel()
			_ = curl.Wait() // it was killed
		}()
	} else {
		t.Run("curl", func(t *testing.T) { testutil.NeedsTool("curl").Skip(t, err.Error()) })
	}

	for _, ch := range ready {
		select {
		case <-ch:
		case <-ctx.Done():
			t.Fatal("a stream does not begin")
		}
	}
	execLoad(t, n)
	for range ready {
		res := <-results
		if res.got != (collector{execs: n + 1, lines: n + 1}) {
			t.Errorf("%s got %+v, want %d execs and nothing else", res.name, res.got, n+1)
		}
	}
	cancel()
	eventually(t, "the streams are gone", func() bool { return r.hub.count() == 0 })
}

// collectFromCurl reads what curl prints, the header first; begun is closed
// behind it, which is sent when the events are complete.
func collectFromCurl(t testing.TB, out io.Reader, execs int, begun chan struct{}) (c collector) {
	in := bufio.NewReader(out)
	for header := true; ; {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			t.Errorf("curl: %v", err)
			return c
		case header && line == "\r\n":
			header = false
			close(begun)
		case !header && c.add(t, line, execs):
			return c
		}
	}
}

// What a stream asks for must exist.
func TestStreamRejects(t *testing.T) {
	testutil.Require(t, needsConnector)
	r := start(t, Config{Source: "connector"})
	for query, says := range map[string]string{
		"events=dance":     "init, clone, exec",
		"events=":          "names no event",
		"fields=":          "names no field",
		"fields=capz":      `unknown field "capz": fields are all, `,
		"pid=x":            "pid=x",
		"pid=-1":           "is not a pid",
		"tree=true":        "is not a pid",
		"uid=0,x":          "uid=0,x",
		"events_only=wine": "events_only=wine",
		"colour=red":       "unknown colour=",
		"where=exee==1":    "did you mean exe?",
		"unknown=maybe":    "neither show nor hide",
	} {
		got := r.curl(t, "-w", " %{http_code}", "http://daemon/events?"+query)
		if !strings.HasSuffix(got, " 400") || !strings.Contains(got, says) {
			t.Errorf("%s: %q, want 400 and %q", query, got, says)
		}
	}
	s, err := r.Client.Events(t.Context(), connect.NewRequest(&api.EventsRequest{Events: []string{"dance"}}))
	if err != nil {
		t.Fatal(err)
	}
	for s.Receive() {
	}
	wantCode(t, s.Err(), connect.CodeInvalidArgument, "dance", "init, clone, exec")
	s.Close()
}
