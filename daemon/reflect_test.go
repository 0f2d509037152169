package daemon

import (
	"slices"
	"testing"

	"connectrpc.com/grpcreflect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A gRPC client finds out by itself what there is.
func TestReflection(t *testing.T) {
	testutil.Require(t, needsConnector)
	r := start(t, Config{Source: "connector"})
	stream := grpcreflect.NewClient(r.http2(t), "http://daemon").NewStream(t.Context())
	names, err := stream.ListServices()
	if err != nil || !slices.Contains(names, api.DaemonName) {
		t.Errorf("services %v, %v", names, err)
	}
	files, err := stream.FileContainingSymbol(api.DaemonName)
	if err != nil || len(files) == 0 || files[0].GetName() == "" {
		t.Errorf("the file of the service: %v, %v", files, err)
	}
	if _, err := stream.Close(); err != nil {
		t.Error(err)
	}
}
