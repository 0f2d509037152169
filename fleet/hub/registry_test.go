package hub

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	images "github.com/google/go-containerregistry/pkg/registry"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/registry"
)

// serveRegistry runs a registry that may alter what it sends, and returns its address.
func serveRegistry(t *testing.T, alter func(path string, b []byte) []byte) string {
	t.Helper()
	real := images.New(images.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || alter == nil {
			real.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		real.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(alter(r.URL.Path, rec.Body.Bytes()))
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

var (
	plain  = registry.Registry{PlainHTTP: true}
	sample = &registry.Module{FileName: "count.o", File: []byte("what a compiler has made"), Signature: []byte("signed\n")}
)

// What was put into a registry comes back as it was, by its tag and by its digest;
// and the same module has the same digest.
func TestPushAndPull(t *testing.T) {
	host := serveRegistry(t, nil)
	digest, err := plain.Push(t.Context(), host+"/team/count:1", sample)
	if err != nil || !strings.HasPrefix(digest, host+"/team/count@sha256:") {
		t.Fatalf("pushed as %q, %v", digest, err)
	}
	if again, err := plain.Push(t.Context(), host+"/team/count:1", sample); err != nil || again != digest {
		t.Errorf("pushed again as %q, %v; want %q", again, err, digest)
	}
	for _, ref := range []string{host + "/team/count:1", digest} {
		got, err := plain.Pull(t.Context(), ref)
		if err != nil || got.FileName != sample.FileName || !bytes.Equal(got.File, sample.File) || !bytes.Equal(got.Signature, sample.Signature) {
			t.Errorf("%s gives %+v, %v", ref, got, err)
		}
	}
	bare := &registry.Module{FileName: "bare.wasm", File: []byte("no signature")}
	if _, err := plain.Push(t.Context(), host+"/bare:2", bare); err != nil {
		t.Fatal(err)
	}
	if got, err := plain.Pull(t.Context(), host+"/bare:2"); err != nil || got.Signature != nil {
		t.Errorf("without a signature: %+v, %v", got, err)
	}
	for ref, says := range map[string]string{
		host + "/team/count:9": "which 'taskwatch module push' would put there",
		host + "/team/count":   "has no tag",
		"count":                "it looks like REGISTRY/NAME:TAG",
	} {
		if _, err := plain.Pull(t.Context(), ref); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error that says %q", ref, err, says)
		}
	}
	for _, m := range []*registry.Module{{FileName: "../x.o", File: []byte("x")}, {FileName: "a b.o", File: []byte("x")}, {FileName: "x.o"}} {
		if _, err := plain.Push(t.Context(), host+"/x:1", m); err == nil {
			t.Errorf("%+v was pushed", m)
		}
	}
}

// A registry that sends other bytes than were put into it is found out.
func TestAlteredRegistry(t *testing.T) {
	altered := ""
	host := serveRegistry(t, func(path string, b []byte) []byte {
		if altered != "" && strings.Contains(path, altered) {
			return bytes.Replace(b, []byte("a compiler"), []byte("AN ENEMY__"), 1)
		}
		return b
	})
	digest, err := plain.Push(t.Context(), host+"/count:1", sample)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Pull(t.Context(), digest); err != nil {
		t.Fatal(err)
	}
	altered = "/blobs/"
	if m, err := plain.Pull(t.Context(), digest); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("an altered file gives %+v, %v", m, err)
	}
}

// Nodes get a file from a registry by the digest that was signed, and nothing else;
// the hub does not have it. What cannot be had leaves the earlier version as it is.
func TestNodesGetFilesFromRegistry(t *testing.T) {
	file := counterModule(t)
	next := append(slices.Clone(file), 0, 2, 1, 'x') // a section that means nothing
	var altered atomic.Bool
	host := serveRegistry(t, func(path string, b []byte) []byte {
		if altered.Load() && strings.Contains(path, "/blobs/") {
			b = slices.Clone(b)
			b[len(b)-1]++
		}
		return b
	})
	ref := host + "/team/count:1"
	for _, b := range [][]byte{file, next} {
		if _, err := plain.Push(t.Context(), ref, &registry.Module{FileName: "count.wasm", File: b}); err != nil {
			t.Fatal(err)
		}
	}
	place, err := plain.Place(ref)
	if err != nil || place != "http://"+host+"/team/count" {
		t.Fatalf("the place is %q, %v", place, err)
	}
	_, tm, n := oneNode(t)
	entry := func(digest string) *fleet.Entry {
		return &fleet.Entry{Module: "count", Digest: digest, Registry: place}
	}
	first := entry(fleet.Digest(file))
	if o := tm.want(t, first, nil); len(o.Done) != 1 || o.Done[0].State != fleet.Running || o.Done[0].Running != first.Generation {
		t.Fatalf("the outcome is %+v", o)
	}
	if _, err := tm.Module(t.Context(), first.Digest, fleet.MaxModule); err == nil {
		t.Error("the hub has the file")
	}
	if text := audit(t, tm.Conn.Conn); !strings.Contains(text, ", from "+place) {
		t.Errorf("the audit trail does not say from where:\n%s", text)
	}
	failed := func(digest, says string) {
		t.Helper()
		o := tm.want(t, entry(digest), nil)
		if f := o.Failed(); len(f) != 1 || f[0].Running != first.Generation || !strings.Contains(f[0].Reason, says) || !strings.Contains(f[0].Reason, place) {
			t.Errorf("the outcome is %+v, want a failure that says %q and %q", o, says, place)
		}
		if got := n.FleetModules(); !slices.Equal(got, []string{"count"}) {
			t.Errorf("the modules are %q", got)
		}
	}
	altered.Store(true)
	failed(fleet.Digest(next), "digest")
	altered.Store(false)
	failed(fleet.Digest([]byte("what nobody has pushed")), "not found")
	last := entry(fleet.Digest(next)) // is tried at once, because it is said again
	if o := tm.want(t, last, nil); len(o.Done) != 1 || o.Done[0].Running != last.Generation {
		t.Errorf("when the registry is well again, the outcome is %+v", o)
	}
}

// A registry that does not answer holds nothing up: the node says that it waits,
// leases end, other modules are loaded; and then it loads the module.
func TestRegistryHangs(t *testing.T) {
	file := counterModule(t)
	release := make(chan struct{})
	host := serveRegistry(t, func(path string, b []byte) []byte {
		if strings.Contains(path, "/blobs/") {
			<-release
		}
		return b
	})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free)
	if _, err := plain.Push(t.Context(), host+"/slow:1", &registry.Module{FileName: "slow.wasm", File: file}); err != nil {
		t.Fatal(err)
	}
	place, err := plain.Place(host + "/slow:1")
	if err != nil {
		t.Fatal(err)
	}
	_, tm, n := oneNode(t)
	other := append(slices.Clone(file), 0, 2, 1, 'y')
	tm.want(t, &fleet.Entry{Module: "leased", Lease: 2 * time.Second}, other)
	slow := &fleet.Entry{Module: "slow", Digest: fleet.Digest(file), Registry: place, Expires: time.Now().Add(time.Hour)}
	if err := tm.Put(t.Context(), tm.key, slow); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node says that it waits for the file", func() bool {
		r := tm.report(t, n, "slow")
		return r.State == fleet.Fetching && r.Generation == slow.Generation && strings.Contains(r.Reason, place)
	})
	eventually(t, "the lease ends", func() bool {
		return tm.report(t, n, "leased").State == fleet.Lapsed && len(n.FleetModules()) == 0
	})
	tm.want(t, &fleet.Entry{Module: "quick"}, other)
	if got := n.FleetModules(); !slices.Equal(got, []string{"quick"}) {
		t.Errorf("the modules are %q", got)
	}
	free()
	eventually(t, "the module is loaded when its file has come", func() bool { return tm.report(t, n, "slow").Running == slow.Generation })
}
