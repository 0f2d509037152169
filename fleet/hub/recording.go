package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/module"
)

// A recording is a stream, which takes the answers to a question where the server
// passes them on.

// recordingStream is the prefix of their names.
const recordingStream = "taskwatch_recording_"

// What a stream has of its recording, beside its bounds.
const (
	metaWhere  = "taskwatch_where"
	metaSelect = "taskwatch_select"
	metaAsker  = "taskwatch_asker"
	metaKey    = "taskwatch_key"
	metaTakes  = "taskwatch_takes" // the subject of its answers, while it takes none
)

// record begins a recording of the answers to a question that the client is about
// to ask.
func (s *store) record(ctx context.Context, c *Client, r *fleet.Recording) error {
	if r == nil {
		return errors.New("no recording is named")
	}
	if err := r.Check(); err != nil {
		return err
	}
	if !fleet.ValidQuestion(r.Question) {
		return fmt.Errorf("%.40q is not the id of a question", r.Question)
	}
	if err := s.room.check(); err != nil {
		return err
	}
	list, err := s.recordings(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(o fleet.Recording) bool { return o.Name == r.Name }) {
		return fmt.Errorf("there is a recording %s already; choose another name, or remove it", r.Name)
	}
	if len(list) >= fleet.MaxRecordings {
		return fmt.Errorf("there are %d recordings already; remove one", fleet.MaxRecordings)
	}
	room := uint64(r.MaxBytes) // and what the others may still need
	for _, o := range list {
		room += uint64(max(o.MaxBytes-int64(o.Bytes), 0))
	}
	if err := s.room.fits(room); err != nil {
		return err
	}
	_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: recordingStream + r.Name, Subjects: []string{fleet.AnswerSubject(c.Key, r.Question, "*")},
		MaxBytes: r.MaxBytes, MaxAge: r.MaxAge, Discard: jetstream.DiscardOld, AllowDirect: true, Replicas: s.replicas,
		NoAck:    true, // a node would have it sent to any subject
		Metadata: map[string]string{metaWhere: r.Where, metaSelect: r.Select, metaAsker: c.String(), metaKey: c.Key},
	})
	if err != nil {
		return fmt.Errorf("the recording is not begun: %w", err)
	}
	return nil
}

// recordings returns all, by name.
func (s *store) recordings(ctx context.Context) (list []fleet.Recording, err error) {
	streams := s.js.ListStreams(ctx)
	for info := range streams.Info() {
		if name, ok := strings.CutPrefix(info.Config.Name, recordingStream); ok {
			list = append(list, recordingOf(name, info))
		}
	}
	slices.SortFunc(list, func(a, b fleet.Recording) int { return strings.Compare(a.Name, b.Name) })
	return list, streams.Err()
}

func recordingOf(name string, info *jetstream.StreamInfo) fleet.Recording {
	meta := info.Config.Metadata
	return fleet.Recording{
		Name: name, MaxBytes: info.Config.MaxBytes, MaxAge: info.Config.MaxAge, Where: meta[metaWhere], Select: meta[metaSelect], Asker: meta[metaAsker],
		Began: info.Created.UTC(), Bytes: info.State.Bytes, Answers: info.State.Msgs, Nodes: info.State.NumSubjects,
	}
}

// stream returns that of a recording.
func (s *store) stream(ctx context.Context, r *fleet.Recording) (jetstream.Stream, error) {
	if r == nil {
		return nil, errors.New("no recording is named")
	}
	stream, err := jetstream.Stream(nil), error(jetstream.ErrStreamNotFound)
	if module.CheckName(r.Name) == nil { // another name may not go into a subject
		stream, err = s.js.Stream(ctx, recordingStream+r.Name)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("there is no recording %.40q; 'taskwatch fleet recordings' lists those that there are", r.Name)
	}
	return stream, err
}

// A node can send anything as an answer. What is none, or does not fit into an answer of
// the hub, is passed on as something else that is none.
const (
	unreadable  = `"unreadable"`
	maxRecorded = maxPayload - 1<<10
)

// recorded returns answers of a recording behind one, the oldest first.
func (s *store) recorded(ctx context.Context, r *fleet.Recording, behind uint64) (*fleet.Response, error) {
	stream, err := s.stream(ctx, r)
	if err != nil {
		return nil, err
	}
	resp := &fleet.Response{Revision: behind}
	var p page
	for {
		msg, err := next(ctx, stream, resp.Revision)
		if err != nil {
			return nil, fmt.Errorf("recording %s, behind answer %d: %w", r.Name, resp.Revision, err)
		}
		if msg == nil {
			return resp, nil
		}
		answer := msg.Data
		if len(answer) > maxRecorded || !json.Valid(answer) {
			answer = []byte(unreadable)
		}
		if !p.takes(len(answer)) {
			resp.More = true
			return resp, nil
		}
		resp.Recorded = append(resp.Recorded, fleet.RecordedAnswer{Node: msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], Answer: answer})
		resp.Revision = msg.Sequence
	}
}

// pause has the recordings take no answers any more, or take them again. The server would
// go on until the disk is full, and store nothing at all then: see room.
func (s *store) pause(ctx context.Context, pause bool) error {
	var list []jetstream.StreamConfig
	streams := s.js.ListStreams(ctx)
	for info := range streams.Info() {
		cfg := info.Config
		if !strings.HasPrefix(cfg.Name, recordingStream) {
			continue
		}
		switch takes := cfg.Metadata[metaTakes]; {
		case pause && takes == "":
			cfg.Metadata[metaTakes] = cfg.Subjects[0]
			cfg.Subjects = []string{"taskwatch.nothing." + cfg.Name} // it has to have one
		case !pause && takes != "":
			delete(cfg.Metadata, metaTakes)
			cfg.Subjects = []string{takes}
		default:
			continue
		}
		list = append(list, cfg)
	}
	err := streams.Err()
	for _, cfg := range list {
		_, failed := s.js.UpdateStream(ctx, cfg)
		err = errors.Join(err, failed)
	}
	return err
}

// forget removes a recording.
func (s *store) forget(ctx context.Context, c *Client, r *fleet.Recording) error {
	stream, err := s.stream(ctx, r)
	if err != nil {
		return err
	}
	if c.Role != fleet.Loader && stream.CachedInfo().Config.Metadata[metaKey] != c.Key {
		return fmt.Errorf("the recording %s is of another client; a loader may remove it", r.Name)
	}
	return s.js.DeleteStream(ctx, recordingStream+r.Name)
}
