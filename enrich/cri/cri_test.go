package cri

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/taskwatch/taskwatch/enrich"
)

const (
	containerID = "00aa"
	sandboxID   = "00bb"
	brokenID    = "00cc"
	otherID     = "00dd"
	largeID     = "00ee"
)

// serve answers as a runtime does, by gRPC's own server.
func serve(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "cri.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "runtime.v1.RuntimeService",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "ContainerStatus", Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var r ContainerStatusRequest
				if err := read(&r); err != nil {
					return nil, err
				}
				s := &ContainerStatus{Id: r.ContainerId, Metadata: &ContainerMetadata{Name: "web"}, Image: &ImageSpec{Image: "nginx:1"}, ImageRef: "sha256:1", Labels: map[string]string{"a": "b"}}
				switch r.ContainerId {
				case containerID:
				case otherID:
					s.Id = containerID
				case brokenID:
					return nil, status.Error(codes.Internal, "broken")
				case largeID:
					s.Labels["large"] = strings.Repeat("x", maxAnswer)
				default:
					return nil, status.Error(codes.NotFound, "an error occurred when try to find container")
				}
				return &ContainerStatusResponse{Status: s}, nil
			}},
			{MethodName: "PodSandboxStatus", Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var r PodSandboxStatusRequest
				if err := read(&r); err != nil {
					return nil, err
				}
				if r.PodSandboxId != sandboxID {
					return nil, status.Error(codes.NotFound, "no such sandbox")
				}
				return &PodSandboxStatusResponse{Status: &PodSandboxStatus{Id: r.PodSandboxId, Metadata: &PodSandboxMetadata{Name: "pod"}, Labels: map[string]string{"c": "d"}}}, nil
			}},
		},
	}, nil)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return socket
}

func TestLookup(t *testing.T) {
	r := newRuntime(serve(t))
	for id, want := range map[string]enrich.Container{
		containerID: {Name: "web", Image: "nginx:1", Labels: map[string]string{"a": "b"}},
		sandboxID:   {Name: "pod", Labels: map[string]string{"c": "d"}},
	} {
		if got, err := r.Lookup(t.Context(), id); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", id, got, err, want)
		}
	}
	for _, id := range []string{"ffff", otherID} {
		if got, err := r.Lookup(t.Context(), id); !errors.Is(err, enrich.ErrNoContainer) {
			t.Errorf("%s: %+v, %v, want that there is none", id, got, err)
		}
	}
	for id, want := range map[string]string{brokenID: "broken", largeID: "larger than"} {
		if got, err := r.Lookup(t.Context(), id); err == nil || errors.Is(err, enrich.ErrNoContainer) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want an error that says %q", id, got, err, want)
		}
	}
}

func TestImageOf(t *testing.T) {
	for want, s := range map[string]*ContainerStatus{
		"author": {ImageRef: "ref", Image: &ImageSpec{Image: "name", UserSpecifiedImage: "author"}},
		"name":   {ImageRef: "ref", Image: &ImageSpec{Image: "name"}},
		"ref":    {ImageRef: "ref"},
	} {
		if got := imageOf(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLookupWithoutARuntime(t *testing.T) {
	if c, err := newRuntime(filepath.Join(t.TempDir(), "none.sock")).Lookup(t.Context(), containerID); err == nil {
		t.Errorf("there is %+v", c)
	}
	// One that takes the connection and says nothing is left after a while.
	socket := filepath.Join(t.TempDir(), "mute.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			_, _ = c.Read(make([]byte, 1))
		}
		cancel()
	}()
	if c, err := newRuntime(socket).Lookup(ctx, containerID); err == nil {
		t.Errorf("nobody has answered %+v", c)
	}
}
