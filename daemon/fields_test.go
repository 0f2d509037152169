package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

// Each client is told the optional fields that it has asked for, whatever others
// ask for, and is told of no other that it is missing.
func TestOptionalFieldsOfStreams(t *testing.T) {
	testutil.Root(t)
	r := start(t, Config{Source: "bpf"})
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	const ns = taskwatch.FieldVPID | taskwatch.FieldNSMnt | taskwatch.FieldNSPID | taskwatch.FieldNSNet | taskwatch.FieldNSUser
	type client struct {
		fields, where string
		want          taskwatch.Fields
		stream        *connect.ServerStreamForClient[api.EventsResponse]
	}
	clients := []*client{
		{},
		{fields: "ns,exe_ino", want: ns | taskwatch.FieldExeIno},
		{fields: "env", where: "nice < 20", want: taskwatch.FieldEnv},
		{fields: "all", want: taskwatch.OptionalFields},
	}
	for _, c := range clients {
		request := &api.EventsRequest{Events: []string{"exec", "exit"}, Filter: &api.Filter{Uid: []uint32{stranger}, Where: c.where}}
		if c.fields != "" {
			request.Fields = strings.Split(c.fields, ",")
		}
		var err error
		if c.stream, err = r.Client.Events(ctx, connect.NewRequest(request)); err != nil || !c.stream.Receive() {
			t.Fatal(err, c.stream.Err())
		}
		defer c.stream.Close()
	}
	const n = 3
	execLoad(t, n)
	for _, c := range clients {
		execs := 0
		for execs < n && c.stream.Receive() {
			for in := record.NewReader(strings.NewReader(c.stream.Msg().Lines), "stream"); ; {
				it, err := in.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if it.Event == nil {
					continue
				}
				var given taskwatch.Fields
				if it.Event.Extra != nil {
					given = it.Event.Extra.Given
				}
				if want := c.want & taskwatch.OptionalOf(it.Event.Kind); given|it.Event.Missing&taskwatch.OptionalFields != want {
					t.Errorf("fields=%s: %v has %v and misses %v, want %v", c.fields, it.Event.Kind, given, it.Event.Missing, want)
				}
				if it.Event.Kind == taskwatch.Exec {
					execs++
				}
			}
		}
		if execs < n {
			t.Errorf("fields=%s: %d execs, %v", c.fields, execs, c.stream.Err())
		}
	}
}

// The environment of all programs is for those who may do everything, also where
// an expression would give it away. The other fields are for all who may read.
func TestWhoMayReadTheEnvironment(t *testing.T) {
	testutil.Root(t)
	r := start(t, Config{Source: "bpf", Group: strconv.Itoa(nobody)})
	for _, query := range []string{"fields=env", "fields=all", "fields=caps,env", "where=env.exists(v,v.startsWith('TOKEN=a'))"} {
		out, _ := r.curlAs(t, nobody, nobody, nil, "-w", " %{http_code}", eventsURL+"?"+query)
		if !strings.HasSuffix(out, " 403") || !strings.Contains(out, "user 65534 may not read the field env") || !strings.Contains(out, "only root may") {
			t.Errorf("%s: %q", query, out)
		}
	}
	reader, owner := peer{uid: nobody}, peer{uid: uint32(os.Geteuid())}
	if err := r.access.checkFields(reader, taskwatch.OptionalFields&^taskwatch.FieldEnv); err != nil {
		t.Error(err)
	}
	if err := r.access.checkFields(owner, taskwatch.OptionalFields); err != nil {
		t.Error(err)
	}
}

// A stream begins like a recording, each time: what a client has gathered of two
// is two recordings, neither of which has an end.
func TestStreamsStartLikeRecordings(t *testing.T) {
	src := &script{events: make(chan *taskwatch.Event)}
	r := start(t, Config{Open: src.open(nil)})
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for range 2 {
		s, err := r.Client.Events(ctx, connect.NewRequest(&api.EventsRequest{}))
		if err != nil || !s.Receive() {
			t.Fatal(err, s.Err())
		}
		if lines := s.Msg().Lines; strings.Count(lines, "\n") != 1 || !strings.HasPrefix(lines, `{"event":"start","format":`) {
			t.Errorf("a stream begins with %q", lines)
		}
		all.WriteString(s.Msg().Lines)
		src.events <- &taskwatch.Event{Kind: taskwatch.Exit, Seq: 41, Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 5, TID: 5, Comm: "scripted"}}
		if !s.Receive() {
			t.Fatal(s.Err())
		}
		all.WriteString(s.Msg().Lines)
		s.Close()
		eventually(t, "the stream is gone", func() bool { return r.hub.count() == 0 })
	}
	in, kinds := record.NewReader(&all, "both"), ""
	for {
		it, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
			t.Fatal(err)
		case it.Start != nil:
			kinds += "start "
			if s := it.Start; s.Host != host || s.Source != "script" || s.Scope != "a test" || s.Time.IsZero() || s.Command != nil {
				t.Errorf("start %+v", s)
			}
		case it.Event != nil:
			kinds += "event "
		}
	}
	early := in.EarlyEnds()
	if kinds != "start event start event " || len(early) != 2 || !early[0].More || early[0].Line != 2 || early[1].More || early[1].Line != 4 {
		t.Errorf("%s, early ends %+v", kinds, early)
	}
}
