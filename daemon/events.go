package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon/api"
)

// Events is the stream of the interface.
func (s *service) Events(ctx context.Context, r *connect.Request[api.EventsRequest], out *connect.ServerStream[api.EventsResponse]) error {
	st, err := newStream(choiceOf(r.Msg))
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	if err := s.d.access.checkFields(peerFrom(ctx), st.reads()); err != nil {
		return connect.NewError(connect.CodePermissionDenied, err)
	}
	endless(ctx)
	return rpcError(s.d.stream(ctx, st, func(lines []byte, dropped uint64, after string) error {
		return out.Send(&api.EventsResponse{Lines: string(lines), Dropped: dropped, After: after})
	}))
}

// serveEvents is the same for plain HTTP: GET /events, with the fields of the
// request as the query, answers with a recording that does not end.
func (d *Daemon) serveEvents(w http.ResponseWriter, r *http.Request) {
	c, err := parseChoice(r.URL.Query())
	var st *stream
	if err == nil {
		st, err = newStream(c)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := d.access.checkFields(peerFrom(r.Context()), st.reads()); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	endless(r.Context())
	flush := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/jsonl")
	begun := false
	err = d.stream(r.Context(), st, func(lines []byte, _ uint64, _ string) error {
		begun = true
		if _, err := w.Write(lines); err != nil {
			return err
		}
		return flush.Flush()
	})
	switch {
	case errors.Is(err, errAhead):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, ErrTooMany):
		http.Error(w, err.Error(), http.StatusTooManyRequests)
	case err != nil && !begun:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
	// Otherwise the client is gone, or the daemon will be.
}

// choiceOf returns what a request chooses.
func choiceOf(r *api.EventsRequest) *choice {
	f := r.Filter
	return &choice{
		events: r.Events, fields: r.Fields, eventsOnly: r.EventsOnly, after: r.After,
		pid: int(f.GetPid()), tree: f.GetTree(), uids: f.GetUid(), comm: f.GetComm(), exe: f.GetExe(), where: f.GetWhere(), hide: f.GetHideUnknown(),
	}
}

// parseChoice reads a query: events=exec,exit&fields=caps&pid=1&tree=true&uid=0,1000.
func parseChoice(q url.Values) (*choice, error) {
	c := new(choice)
	for key, values := range q {
		value := strings.Join(values, ",")
		var err error
		switch key {
		case "events":
			if value == "" {
				return nil, errors.New("events= names no events")
			}
			c.events = strings.Split(value, ",")
		case "fields":
			if value == "" {
				return nil, errors.New("fields= names no field")
			}
			c.fields = strings.Split(value, ",")
		case "after":
			if c.after = value; value == "" {
				return nil, errors.New("after= names no place; give INSTANCE:SEQ, or now")
			}
		case "events_only":
			c.eventsOnly, err = strconv.ParseBool(value)
		case "pid":
			var n int64
			n, err = strconv.ParseInt(value, 10, 32)
			c.pid = int(n)
		case "tree":
			c.tree, err = strconv.ParseBool(value)
		case "uid":
			for text := range strings.SplitSeq(value, ",") {
				n, e := strconv.ParseUint(text, 10, 32)
				err = errors.Join(err, e)
				c.uids = append(c.uids, uint32(n))
			}
		case "comm":
			c.comm = value
		case "exe":
			c.exe = value
		case "where":
			c.where = value
		case "unknown":
			switch value {
			case "hide":
				c.hide = true
			case "show":
			default:
				return nil, fmt.Errorf("unknown=%s: it is neither show nor hide", value)
			}
		default:
			return nil, fmt.Errorf("unknown %s=; there are after, events, fields, events_only, pid, tree, uid, comm, exe, where and unknown", key)
		}
		if err != nil { // strconv's, which speaks to programmers
			want := "a number"
			if key == "events_only" || key == "tree" {
				want = "true or false"
			}
			return nil, fmt.Errorf("%s=%s: give %s", key, value, want)
		}
	}
	return c, nil
}
