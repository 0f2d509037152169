package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/taskwatch/taskwatch/fleet"
)

// service answers the clients, and stores what they send. It is the only client
// of the server that may use JetStream.
type service struct {
	clients *clients
	log     *slog.Logger

	nc    *nats.Conn
	store *store
	msgs  chan *nats.Msg // for sort
	queue *queue
	notes chan note
	stop  chan struct{}
	ended sync.WaitGroup

	uploads map[string]*upload // under way, by the key of the loader
	paused  *bool              // recordings are; nil where that is not known
	reopen  func()             // opens again what is stored where a write has failed, or nil
}

func newService(cs *clients, log *slog.Logger) *service {
	return &service{
		clients: cs, log: log, msgs: make(chan *nats.Msg, waitingMessages), queue: newQueue(), notes: make(chan note, waitingNotes), stop: make(chan struct{}),
		uploads: map[string]*upload{},
	}
}

// How many messages that are not sorted yet, and lines of the audit trail, wait. After a
// restart of the hub, every node of a fleet sends some at once; what does not fit is
// dropped.
const (
	waitingMessages = 4 << 10
	waitingNotes    = 16 << 10
)

// start begins to answer. It takes the connection.
func (s *service) start(nc *nats.Conn, replicas int, room room) error {
	s.nc = nc
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if s.store, err = openStore(ctx, js, replicas, room); err != nil {
		return err
	}
	s.tidy()
	for _, subject := range []string{fleet.RequestSubject("*"), fleet.ReportSubject("*")} {
		if _, err := s.nc.ChanSubscribe(subject, s.msgs); err != nil {
			return err
		}
	}
	if err := s.nc.Flush(); err != nil {
		return err
	}
	s.ended.Go(s.sort)
	s.ended.Go(s.work)
	return nil
}

func (s *service) close() {
	close(s.stop)
	s.ended.Wait()
	if s.nc != nil {
		s.nc.Close()
	}
}

// note is a line of the audit trail, and the client that has caused it, or nil.
type note struct {
	line    fleet.AuditLine
	client  *Client
	revoked bool // somebody is
}

// note has a line written to the audit trail. It does not wait: the server calls
// it when a client connects.
func (s *service) note(c *Client, what string) {
	n := note{line: fleet.AuditLine{Time: time.Now().UTC(), Who: "hub", What: what}, client: c}
	if c != nil {
		n.line.Who, n.line.Role = c.String(), c.Role
	}
	s.add(n)
}

// noteNow writes what a client has done to the audit trail before the client gets its
// answer: whatever becomes of the hub then, it is there. The goroutine of the service alone
// calls it.
func (s *service) noteNow(c *Client, what string) {
	s.write(&note{line: fleet.AuditLine{Time: time.Now().UTC(), Who: c.String(), Role: c.Role, What: what}, client: c})
}

func (s *service) write(n *note) {
	if err := s.store.note(n); err != nil {
		s.log.Error("a line is not in the audit trail", "who", n.line.Who, "what", n.line.What, "error", err)
	}
}

// revoked notes that a client is revoked, and removes its report.
func (s *service) revoked(c *Client) {
	s.add(note{line: fleet.AuditLine{Time: time.Now().UTC(), Who: "hub", What: "revoked " + string(c.Role) + " " + c.String()}, revoked: true})
}

func (s *service) add(n note) {
	select {
	case s.notes <- n:
	default:
		s.log.Warn("a line is not in the audit trail, because too many wait", "who", n.line.Who, "what", n.line.What)
	}
}

// sort puts the messages into the queue.
func (s *service) sort() {
	for {
		select {
		case msg := <-s.msgs:
			_, key := split(msg)
			if c := s.clients.byTheKey(key); c != nil && s.queue.put(key, msg) {
				s.log.Warn("a client sends more than the hub takes, and some of it is dropped", "client", c.String())
				s.note(c, "sends more than the hub takes, and some of it is dropped")
			}
		case <-s.stop:
			return
		}
	}
}

// split returns what kind of message it is, and the key of the client that has sent it,
// which the subject says.
func split(msg *nats.Msg) (kind, key string) {
	kind, key, _ = strings.Cut(strings.TrimPrefix(msg.Subject, "taskwatch."), ".")
	return kind, key
}

// work is the goroutine of the service.
func (s *service) work() {
	tidy, look := time.NewTicker(keepUnused), time.NewTicker(lookEvery)
	defer tidy.Stop()
	defer look.Stop()
	for {
		select {
		case <-s.queue.ready:
			if msg := s.queue.next(); msg != nil {
				s.take(msg)
			}
		case n := <-s.notes:
			if s.write(&n); n.revoked {
				s.tidy()
			}
		case <-tidy.C:
			s.tidy()
		case now := <-look.C:
			s.forgetUploads(now)
			s.pause()
		case <-s.stop:
			return
		}
	}
}

// lookEvery is how often the service looks after what clients do without a request, or
// have left.
const lookEvery = time.Second

// pause has recordings take nothing while the disk is full. JetStream does not write again to
// a stream where a write has failed, which may be before the hub looks.
func (s *service) pause() {
	full := s.store.room.check() != nil
	if !full && s.reopen != nil {
		s.reopen()
	}
	if s.paused != nil && *s.paused == full {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if err := s.store.pause(ctx, full); err != nil {
		s.log.Error("recordings do not follow what room the disk has", "full", full, "error", err)
		return // it is tried again
	}
	if s.paused = &full; full {
		s.log.Error("recordings take nothing until the disk has room")
	}
}

// tidy removes what is of use to nobody: reports of nodes that are revoked, modules that
// are unloaded, and files of modules.
func (s *service) tidy() {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	err := s.store.forgetNodes(ctx, func(key string) bool { return s.clients.byTheKey(key) != nil })
	if err == nil {
		err = s.store.forgetModules(ctx, time.Now())
	}
	if err == nil {
		err = s.store.prune(ctx, time.Now().Add(-keepUnused))
	}
	if err != nil {
		s.log.Error("what is of no use any more stays", "error", err)
	}
}

// take takes a message.
func (s *service) take(msg *nats.Msg) {
	kind, key := split(msg)
	c := s.clients.byTheKey(key)
	if c == nil {
		return // it was revoked a moment ago
	}
	if kind == "report" {
		s.report(c, msg.Data)
		return
	}
	// An answer goes to the client that has asked, whatever it has asked for: it
	// must not have the service write where the client itself may not.
	if !strings.HasPrefix(msg.Reply, fleet.Inbox(key)+".") {
		s.log.Warn("a request wants its answer elsewhere", "client", c.String(), "reply", msg.Reply)
		return
	}
	var r fleet.Request
	resp := &fleet.Response{}
	err := json.Unmarshal(msg.Data, &r)
	switch {
	case err != nil:
	case !c.Role.MayRequest(r.Op):
		err = fmt.Errorf("a %s may not do that; enroll with another role", c.Role)
	default:
		resp, err = s.answer(c, &r)
	}
	if err != nil {
		resp = &fleet.Response{Error: err.Error()}
	}
	b, err := encode(resp)
	switch {
	case err != nil: // whoever has asked must not wait for nothing
		s.log.Error("an answer cannot be written", "client", c.String(), "op", r.Op, "error", err)
		b, err = encode(&fleet.Response{Error: "the answer cannot be written; the log of the hub says why"})
	case int64(len(b)) > s.nc.MaxPayload():
		b, err = encode(&fleet.Response{Error: fmt.Sprintf("the answer has %d bytes, and a message may have %d", len(b), s.nc.MaxPayload())})
	}
	if err == nil {
		err = s.nc.Publish(msg.Reply, b)
	}
	if err != nil {
		s.log.Error("an answer is not sent", "client", c.String(), "error", err)
	}
}

// encode returns an answer as JSON. Nothing in it is for a page of HTML, for which <, > and &
// would be six times as long.
func encode(r *fleet.Response) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(r)
	return b.Bytes(), err
}

func (s *service) answer(c *Client, r *fleet.Request) (*fleet.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	switch r.Op {
	case fleet.Desired:
		return s.store.desired(r.After), nil
	case fleet.Nodes:
		return s.store.nodes(r.Revision), nil
	case fleet.Audit:
		return s.store.audit(ctx, r.Revision)
	case fleet.Module:
		return s.store.piece(ctx, r.Digest, r.Offset)
	case fleet.Upload:
		return s.upload(ctx, c, r)
	case fleet.Put:
		return s.put(ctx, c, r)
	case fleet.Recordings:
		list, err := s.store.recordings(ctx)
		return &fleet.Response{Recordings: list}, err
	case fleet.Recorded:
		return s.store.recorded(ctx, r.Recording, r.Revision)
	case fleet.Record, fleet.Forget:
		return s.keep(ctx, c, r)
	}
	return nil, fmt.Errorf("unknown request %q", r.Op)
}

// put makes an entry the one of its module. The hub has no keys to verify it
// with, and needs none: the nodes do that.
func (s *service) put(ctx context.Context, c *Client, r *fleet.Request) (*fleet.Response, error) {
	signed := r.Entry
	if signed == nil {
		return nil, errors.New("there is no entry")
	}
	e, err := signed.Unverified()
	if err != nil {
		return nil, err
	}
	renewed := s.store.renews(e)
	if err := s.store.put(ctx, c, e, signed, r.Revision); err != nil {
		return nil, err
	}
	if !renewed {
		s.noteNow(c, describe(e))
	}
	b, err := json.Marshal(fleet.Stored{Module: e.Module, Signed: *signed})
	if err != nil {
		return nil, err
	}
	return &fleet.Response{}, s.nc.Publish(fleet.DesiredSubject, b)
}

// keep begins or removes a recording.
func (s *service) keep(ctx context.Context, c *Client, r *fleet.Request) (*fleet.Response, error) {
	if r.Op == fleet.Forget {
		err := s.store.forget(ctx, c, r.Recording)
		if err == nil {
			s.noteNow(c, "removed the recording "+r.Recording.Name)
		}
		return &fleet.Response{}, err
	}
	err := s.store.record(ctx, c, r.Recording)
	if err == nil {
		s.noteNow(c, fmt.Sprintf("began the recording %s of %q", r.Recording.Name, r.Recording.Where))
	}
	return &fleet.Response{}, err
}

// describe says in the audit trail what an entry wants.
func describe(e *fleet.Entry) string {
	if e.Absent {
		return fmt.Sprintf("wants module %s unloaded, generation %d", e.Module, e.Generation)
	}
	text := fmt.Sprintf("wants module %s, generation %d, digest %s, on ", e.Module, e.Generation, e.Digest)
	if e.Select == "" {
		text += "all nodes"
	} else {
		text += fmt.Sprintf("nodes for which %#q", e.Select)
	}
	if e.Through != "" {
		text += ", in a rollout through " + e.Through
	}
	if e.Registry != "" {
		text += ", from " + e.Registry
	}
	for i, name := range slices.Sorted(maps.Keys(e.Params)) {
		text += [...]string{", with ", " "}[min(i, 1)] + name + "=" + word(e.Params[name])
	}
	return text
}

// word returns a text that cannot pass for more than one word: in quotes, unless it is one.
func word(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '`' || r == ',' || r == '=' }) {
		return fmt.Sprintf("%#q", text)
	}
	return text
}

// report takes what a node says of itself.
func (s *service) report(c *Client, data []byte) {
	if c.Role != fleet.Node {
		return // its permissions do not let it
	}
	var r fleet.Report
	err := json.Unmarshal(data, &r)
	if err == nil {
		data, err = json.Marshal(r) // as it will be passed on: that may be longer than what came
	}
	if err != nil || len(data) > fleet.MaxReport {
		s.log.Warn("a report cannot be read, or is too long", "client", c.String(), "bytes", len(data), "limit", fleet.MaxReport, "error", err)
		return
	}
	for _, what := range s.store.report(c.Key, r, data) {
		s.note(c, what)
	}
	if err := s.store.reportErr(); err != nil {
		s.log.Error("the report of a node is not stored", "client", c.String(), "error", err)
	}
}
