package hub

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch/fleet"
)

// Each role may use its own subjects, and nothing else: not those of another
// client, not those of the hub, and nothing of JetStream's.
func TestPermissions(t *testing.T) { eachHub(t, testPermissions) }

func testPermissions(t *testing.T, h *running) {
	const other = "UOTHER"
	forbidden := map[string][]string{ // to publish to
		"the hub":   {fleet.DesiredSubject, "taskwatch.audit.hub", "taskwatch.anything", "anything"},
		"others":    {fleet.RequestSubject(other), fleet.ReportSubject(other), fleet.QuestionSubject(other), fleet.ReceiptSubject(other, "n"), fleet.AnswerSubject("a", "q", other), fleet.Inbox(other) + ".x"},
		"the store": {"$KV.taskwatch_desired.acct", "$KV.taskwatch_nodes.x", "$KV.taskwatch_forgotten.floor", "$O.taskwatch_modules.C.x", "$O.taskwatch_modules.M.x"},
		"JetStream": {
			"$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.KV_taskwatch_desired", "$JS.API.STREAM.CREATE.x",
			"$JS.API.STREAM.UPDATE.KV_taskwatch_desired", "$JS.API.STREAM.DELETE.KV_taskwatch_desired", "$JS.API.STREAM.PURGE.KV_taskwatch_desired",
			"$JS.API.STREAM.MSG.GET.KV_taskwatch_desired", "$JS.API.STREAM.MSG.DELETE.taskwatch_audit", "$JS.API.DIRECT.GET.KV_taskwatch_desired",
			"$JS.API.CONSUMER.CREATE.KV_taskwatch_desired", "$JS.API.CONSUMER.CREATE.KV_taskwatch_desired.c.x", "$JS.API.CONSUMER.MSG.NEXT.KV_taskwatch_desired.c",
			"$JS.API.STREAM.SNAPSHOT.KV_taskwatch_desired", "$JS.API.STREAM.RESTORE.x", "$JS.API.STREAM.PEER.REMOVE.KV_taskwatch_desired", "$JS.API.STREAM.LEADER.STEPDOWN.taskwatch_audit",
			"$JS.API.DIRECT.GET.taskwatch_audit.taskwatch.audit.hub", "$JS.API.CONSUMER.DURABLE.CREATE.taskwatch_audit.c", "$JS.API.CONSUMER.NAMES.taskwatch_audit",
			"$JS.API.CONSUMER.LIST.taskwatch_audit", "$JS.API.CONSUMER.INFO.taskwatch_audit.c", "$JS.API.CONSUMER.DELETE.taskwatch_audit.c", "$JS.API.CONSUMER.PAUSE.taskwatch_audit.c",
			"$JS.API.CONSUMER.UNPIN.taskwatch_audit.c", "$JS.API.CONSUMER.LEADER.STEPDOWN.taskwatch_audit.c", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE",
			"$JS.API.ACCOUNT.PURGE.$G", "$JS.API.ACCOUNT.STREAM.MOVE.$G.taskwatch_audit", "$JS.hub.API.INFO", "$JS.API.x", "$JS.EVENT.ADVISORY.API", "$JS.SNAPSHOT.ACK.x.y",
			"$JS.ACK.x", "$JS.FC.x", "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.x.KICK", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.AUTH", "$SYS._INBOX.x",
		},
	}
	listen := []string{">", "taskwatch.>", fleet.RequestSubject("*"), fleet.ReportSubject("*"), "_INBOX.>", fleet.Inbox(other) + ".>", "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$KV.>", "$KV.taskwatch_desired.>", "$SYS.>", "taskwatch.audit.*", "taskwatch.nothing.*", fleet.AnswerSubject(other, "*", "*")}
	for role, own := range map[fleet.Role]struct{ may, mayNot, hears, deaf []string }{
		fleet.Node: {
			may:    []string{"taskwatch.report.KEY", "taskwatch.answer.a.q.KEY"},
			mayNot: []string{"taskwatch.question.KEY", "taskwatch.receipt.KEY.n"},
			hears:  []string{fleet.DesiredSubject, "taskwatch.question.*", "taskwatch.receipt.*.KEY", "_INBOX.KEY.>"},
			deaf:   []string{"taskwatch.answer.KEY.*.*", "taskwatch.receipt.*.*", "taskwatch.receipt.*.UOTHER"},
		},
		fleet.Reader: {
			may:    []string{"taskwatch.question.KEY", "taskwatch.receipt.KEY.n"},
			mayNot: []string{"taskwatch.report.KEY", "taskwatch.answer.a.q.KEY"},
			hears:  []string{"taskwatch.answer.KEY.*.*", "_INBOX.KEY.>"},
			deaf:   []string{"taskwatch.question.*", "taskwatch.receipt.KEY.*", fleet.DesiredSubject},
		},
		fleet.Loader: {
			may:    []string{"taskwatch.question.KEY", "taskwatch.receipt.KEY.n"},
			mayNot: []string{"taskwatch.report.KEY", "taskwatch.answer.a.q.KEY"},
			hears:  []string{"taskwatch.answer.KEY.*.*", "_INBOX.KEY.>"},
			deaf:   []string{"taskwatch.question.*", "taskwatch.receipt.KEY.*", fleet.DesiredSubject},
		},
	} {
		t.Run(string(role), func(t *testing.T) {
			errs := make(chan error, 1)
			c := h.dial(t, role, "", errs)
			mine := func(subject string) string { return strings.ReplaceAll(subject, "KEY", c.Key()) }
			denied := func(what string, do func() error) {
				t.Helper()
				if err := do(); err != nil {
					t.Fatal(err)
				}
				if err := c.Flush(); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-errs:
					if !errors.Is(err, nats.ErrPermissionViolation) {
						t.Errorf("a %s that does %s gets %v", role, what, err)
					}
				case <-time.After(patient):
					t.Errorf("a %s may do %s", role, what)
				}
			}
			for _, list := range forbidden {
				for _, s := range list {
					denied("publish to "+s, func() error { return c.Publish(s, nil) })
				}
			}
			for _, s := range own.mayNot {
				denied("publish to "+s, func() error { return c.Publish(mine(s), nil) })
			}
			for _, s := range append(listen, own.deaf...) {
				denied("listen to "+s, func() error {
					sub, err := c.SubscribeSync(mine(s))
					if err == nil {
						t.Cleanup(func() { _ = sub.Unsubscribe() })
					}
					return err
				})
			}
			for _, s := range own.may {
				if err := c.Publish(mine(s), []byte("{}")); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range own.hears {
				if _, err := c.SubscribeSync(mine(s)); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Ask(t.Context(), &fleet.Request{Op: fleet.Desired}); err != nil {
				t.Error(err)
			}
			select {
			case err := <-errs:
				t.Errorf("a %s may not do what it must: %v", role, err)
			default:
			}
		})
	}
}

// What each role may ask of the hub.
func TestRequestsOfRoles(t *testing.T) {
	h := startHub(t)
	for role, may := range map[fleet.Role]string{
		fleet.Node: "desired module", fleet.Reader: "desired module nodes audit record recordings recorded forget",
		fleet.Loader: "desired module nodes audit record recordings recorded forget upload put",
	} {
		c := h.dial(t, role, "", nil)
		for _, op := range []fleet.Op{fleet.Desired, fleet.Module, fleet.Nodes, fleet.Audit, fleet.Upload, fleet.Put, fleet.Record, fleet.Recordings, fleet.Recorded, fleet.Forget} {
			_, err := c.Ask(t.Context(), &fleet.Request{Op: op})
			rejected := err != nil && strings.Contains(err.Error(), "a "+string(role)+" may not do that")
			if want := !slices.Contains(strings.Fields(may), string(op)); rejected != want {
				t.Errorf("%s asks %s: %v", role, op, err)
			}
		}
	}
}

// The hub sends an answer only to the one that has asked: not to a subject at
// which the asker itself may not publish.
func TestAnswersGoToTheAsker(t *testing.T) { eachHub(t, testAnswersGoToTheAsker) }

func testAnswersGoToTheAsker(t *testing.T, h *running) {
	reader := h.dial(t, fleet.Reader, "", nil)
	victim, err := reader.SubscribeSync(fleet.Inbox(reader.Key()) + ".x")
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Flush(); err != nil {
		t.Fatal(err)
	}
	node := h.dial(t, fleet.Node, "evil", nil)
	for _, reply := range []string{fleet.Inbox(reader.Key()) + ".x", fleet.DesiredSubject, "$KV.taskwatch_desired.acct"} {
		if err := node.PublishRequest(fleet.RequestSubject(node.Key()), reply, []byte(`{"op":"desired"}`)); err != nil {
			t.Fatal(err)
		}
	}
	// The service answers in order: when this is answered, those were.
	if _, err := node.Ask(t.Context(), &fleet.Request{Op: fleet.Desired}); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Ask(t.Context(), &fleet.Request{Op: fleet.Desired}); err != nil {
		t.Fatal(err)
	}
	if n, _, err := victim.Pending(); n != 0 || err != nil {
		t.Errorf("%d answers came to another client, %v", n, err)
	}
	if n := strings.Count(h.log.String(), "wants its answer elsewhere"); n != 3 {
		t.Errorf("the log has %d of 3 such requests", n)
	}
}
