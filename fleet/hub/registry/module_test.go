package registry

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// serve runs a registry that may alter what it sends, and returns its address.
func serve(t *testing.T, alter func(path string, b []byte) []byte) string {
	t.Helper()
	real := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
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
	plain  = Registry{PlainHTTP: true}
	sample = &Module{FileName: "count.o", File: []byte("what a compiler has made"), Signature: []byte("signed\n")}
)

// What was put into a registry comes back as it was, by its tag and by its digest;
// and the same module has the same digest.
func TestPushAndPull(t *testing.T) {
	host := serve(t, nil)
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
	bare := &Module{FileName: "bare.wasm", File: []byte("no signature")}
	if _, err := plain.Push(t.Context(), host+"/bare:2", bare); err != nil {
		t.Fatal(err)
	}
	if got, err := plain.Pull(t.Context(), host+"/bare:2"); err != nil || got.Signature != nil {
		t.Errorf("without a signature: %+v, %v", got, err)
	}
	for ref, says := range map[string]string{
		host + "/team/count:9": "not found",
		host + "/team/count":   "has no tag",
		"count":                "it looks like REGISTRY/NAME:TAG",
	} {
		if _, err := plain.Pull(t.Context(), ref); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error that says %q", ref, err, says)
		}
	}
	for _, m := range []*Module{{FileName: "../x.o", File: []byte("x")}, {FileName: "a b.o", File: []byte("x")}, {FileName: "x.o"}} {
		if _, err := plain.Push(t.Context(), host+"/x:1", m); err == nil {
			t.Errorf("%+v was pushed", m)
		}
	}
}

// A registry that sends other bytes than were put into it is found out.
func TestAlteredRegistry(t *testing.T) {
	altered := ""
	host := serve(t, func(path string, b []byte) []byte {
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
