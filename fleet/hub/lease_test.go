package hub

import (
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// A lease that nobody renews unloads the module, and neither a restart nor the
// same entry again begins it anew. A renewal does not load the module again.
func TestLease(t *testing.T) {
	_, tm, n := oneNode(t)
	file := counterModule(t)
	e := &fleet.Entry{Module: "count", Lease: time.Hour}
	tm.want(t, e, file)
	if got := strings.Count(n.log.String(), "msg=loaded module=count"); got != 1 {
		t.Fatalf("loaded %d times", got)
	}
	tm.want(t, &fleet.Entry{Module: "count", Lease: time.Second}, file)
	if text := n.log.String(); strings.Count(text, "msg=loaded module=count") != 1 || strings.Contains(text, "msg=replaced") {
		t.Error("a renewal has loaded the module again")
	}
	tm.want(t, &fleet.Entry{Module: "count", Lease: time.Second}, file)
	if text := audit(t, tm.Conn.Conn); strings.Count(text, "wants module count") != 2 || strings.Count(text, "n (node): module count") != 1 {
		t.Errorf("the audit trail has more than the changes:\n%s", text)
	}
	eventually(t, "the lease ends", func() bool {
		return tm.report(t, n, "count").State == fleet.Lapsed && len(n.FleetModules()) == 0
	})
	n.stop()
	n.start(t)
	before := tm.report(t, n, "count")
	eventually(t, "the node reads everything", func() bool { return strings.Count(n.log.String(), "connected to the hub") == 2 })
	tm.want(t, &fleet.Entry{Module: "other", Absent: true}, nil) // behind what it has read
	if r := tm.report(t, n, "count"); r.State != fleet.Lapsed || len(n.FleetModules()) != 0 {
		t.Errorf("after a restart it is %+v, before %+v", r, before)
	}
	if o := tm.want(t, &fleet.Entry{Module: "count", Lease: time.Hour}, file); len(o.Done) != 1 || o.Done[0].State != fleet.Running {
		t.Errorf("a renewal gives %+v", o)
	}
}

// A version without a lease, or with another one, goes on where the next one cannot
// be loaded; but a lease of its own ends it, and needs no hub for that.
func TestLeaseOfEarlierVersion(t *testing.T) {
	h, tm, n := oneNode(t)
	file := counterModule(t)
	first := &fleet.Entry{Module: "count", Lease: 3 * time.Second}
	tm.want(t, first, file)
	bad := &fleet.Entry{Module: "count", Params: map[string]string{"speed": "9"}, Lease: time.Hour}
	o := tm.want(t, bad, file)
	if len(o.Failed()) != 1 {
		t.Fatalf("the outcome is %+v", o)
	}
	h.kill()
	eventually(t, "the lease of the earlier version ends", func() bool {
		return strings.Contains(n.log.String(), "msg=unloaded module=count") && len(n.FleetModules()) == 0
	})
}

// For a node whose clock is set ahead, each renewal has expired: it says so, and unloads
// the module when the lease is over, which its clock does not change.
func TestRenewalsOfClockAhead(t *testing.T) {
	_, tm, n := oneNode(t)
	file := counterModule(t)
	const lease = 3 * time.Second
	began := time.Now()
	tm.want(t, &fleet.Entry{Module: "count", Lease: lease}, file)
	eventually(t, "the lease ends", func() bool {
		e := &fleet.Entry{Module: "count", Digest: fleet.Digest(file), Lease: lease, Expires: time.Now().Add(-time.Second)}
		if err := tm.Put(t.Context(), tm.key, e); err != nil {
			t.Fatal(err)
		}
		r := tm.report(t, n, "count")
		return r.State == fleet.Rejected && strings.Contains(r.Reason, "has expired") && r.Running == 0
	})
	if took := time.Since(began); took < lease {
		t.Errorf("it has ended after %v", took)
	}
	if o := tm.want(t, &fleet.Entry{Module: "count", Lease: time.Hour}, file); len(o.Failed()) > 0 || len(n.FleetModules()) != 1 {
		t.Errorf("a renewal that has not expired: %+v", o)
	}
}
