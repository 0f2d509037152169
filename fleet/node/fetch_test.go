package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// A file that could not be had is tried again a minute later, or at once when it is
// said again that it is wanted; what it failed with is said until then.
func TestFetchAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is fetched
	f := newFetches(nil)
	e := &fleet.Entry{Digest: "d", Registry: "https://registry.example/m"}
	if err := f.want(ctx, e); !errors.Is(err, errFetching) || !f.tries["d"].busy {
		t.Fatalf("at first: %v", err)
	}
	failure := errors.New("no route to host")
	f.end("d", failure)
	if err := f.want(ctx, e); !errors.Is(err, failure) || f.tries["d"].busy {
		t.Errorf("after a failure: %v, and it is tried at once", err)
	}
	if next := f.prune(map[string]bool{"d": true}); next > fetchAgain || next < fetchAgain-time.Minute/2 {
		t.Errorf("it is tried again in %v", next)
	}
	f.tries["d"].at = time.Now().Add(-fetchAgain)
	if err := f.want(ctx, e); !errors.Is(err, failure) || !f.tries["d"].busy {
		t.Errorf("a minute later: %v, and it is not tried", err)
	}
	f.end("d", failure)
	f.forget("d")
	if err := f.want(ctx, e); !errors.Is(err, errFetching) || !f.tries["d"].busy {
		t.Errorf("said again: %v", err)
	}
	f.end("d", nil)
	f.end("other", failure)
	if f.prune(nil); len(f.tries) != 0 {
		t.Errorf("what is not needed stays: %v", f.tries)
	}
	f.ended.Wait()
}

// A hub that is away while it is asked for a file is asked again; one that answers that it
// does not have it is not.
func TestFetchWhileHubIsAway(t *testing.T) {
	asked, failure := 0, errors.New("no such file")
	f := newFetches(func(context.Context, string) ([]byte, error) {
		switch asked++; asked {
		case 1:
			return nil, fmt.Errorf("hub: module: %w", fleet.ErrAway)
		case 2:
			return []byte("file"), nil
		}
		return nil, failure
	})
	e := &fleet.Entry{Digest: "d"}
	for _, want := range []error{nil, failure} {
		if err := f.want(t.Context(), e); !errors.Is(err, errFetching) {
			t.Fatal(err)
		}
		got := <-f.done
		if !errors.Is(got.err, want) || want == nil && string(got.file) != "file" {
			t.Errorf("after %d requests: %q, %v", asked, got.file, got.err)
		}
		f.end(got.digest, got.err)
	}
	if f.ended.Wait(); asked != 3 || !f.tries["d"].hub {
		t.Errorf("the hub was asked %d times", asked)
	}
	if f.forgetHub(); f.tries["d"].err != nil {
		t.Error("a hub that is there again is not asked at once")
	}
}
