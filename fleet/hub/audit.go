package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/taskwatch/taskwatch/fleet"
)

// Bounds of the audit trail.
const (
	auditBytes = 64 << 20
	auditLines = 10_000  // of a client: none drives out those of others
	nodeLine   = 1 << 10 // bytes of a line of a node, as JSON
	nodeLines  = 1000    // of a node in a minute
	auditPage  = 200
)

// note stores a line of the audit trail.
func (s *store) note(n *note) error {
	who := "hub"
	if n.client != nil {
		who = n.client.ID
	}
	b, err := json.Marshal(n.line)
	for line := n.line; err == nil && len(b) > nodeLine && line.Role == fleet.Node; b, err = json.Marshal(line) {
		n.line.What = n.line.What[:len(n.line.What)*3/4]
		line.What = strings.ToValidUTF8(n.line.What, "") + "..."
	}
	if err == nil {
		err = s.room.check()
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	_, err = s.js.Publish(ctx, auditSubject+who, b)
	return err
}

// audit returns lines behind one, the oldest first.
func (s *store) audit(ctx context.Context, behind uint64) (*fleet.Response, error) {
	r := &fleet.Response{Revision: behind}
	var p page
	for {
		msg, err := next(ctx, s.lines, r.Revision)
		if msg == nil || err != nil {
			return r, err
		}
		if len(r.Audit) == auditPage || !p.takes(len(msg.Data)) {
			r.More = true
			return r, nil
		}
		var l fleet.AuditLine
		if err := json.Unmarshal(msg.Data, &l); err != nil {
			return nil, fmt.Errorf("line %d of the audit trail: %w", msg.Sequence, err)
		}
		r.Audit, r.Revision = append(r.Audit, l), msg.Sequence
	}
}

// next returns the first message of a stream behind one, or nil. How many have made room
// between the two does not matter: a client may have had so many lines that asking for each
// number takes longer than an answer may.
func next(ctx context.Context, stream jetstream.Stream, behind uint64) (*jetstream.RawStreamMsg, error) {
	msg, err := stream.GetMsg(ctx, behind+1, jetstream.WithGetMsgSubject(">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return msg, err
}
