// Package cri queries a container runtime of Kubernetes, such as containerd or
// CRI-O, for the names of its containers, by the Container Runtime Interface.
package cri

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/enrich"
)

// The procedures, by the names of the public interface.
const (
	containerStatus  = "/runtime.v1.RuntimeService/ContainerStatus"
	podSandboxStatus = "/runtime.v1.RuntimeService/PodSandboxStatus"
)

// maxAnswer limits how much of an answer is read.
const maxAnswer = 4 << 20

// Local returns the runtimes on this machine: those at the default sockets of
// containerd and CRI-O, and the one that CONTAINER_RUNTIME_ENDPOINT names as
// unix://PATH.
func Local() []enrich.Runtime {
	var list []enrich.Runtime
	usual := []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/k3s/containerd/containerd.sock"}
	for _, path := range enrich.Sockets(usual, "CONTAINER_RUNTIME_ENDPOINT") {
		list = append(list, newRuntime(path))
	}
	return list
}

// runtime is the interface on a socket.
type runtime struct {
	socket    string
	container *connect.Client[ContainerStatusRequest, ContainerStatusResponse]
	sandbox   *connect.Client[PodSandboxStatusRequest, PodSandboxStatusResponse]
}

// newRuntime returns the runtime behind a socket. It speaks gRPC over HTTP/2 without
// TLS, and connects at the first query.
func newRuntime(socket string) enrich.Runtime {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		IdleConnTimeout: time.Minute,
		Protocols:       new(http.Protocols),
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: transport}
	options := []connect.ClientOption{connect.WithGRPC(), connect.WithReadMaxBytes(maxAnswer)}
	return &runtime{
		socket:    socket,
		container: connect.NewClient[ContainerStatusRequest, ContainerStatusResponse](client, "http://localhost"+containerStatus, options...),
		sandbox:   connect.NewClient[PodSandboxStatusRequest, PodSandboxStatusResponse](client, "http://localhost"+podSandboxStatus, options...),
	}
}

// Lookup looks for a container with that id, and then for the sandbox of a pod,
// which has the name of the pod and no image.
func (r *runtime) Lookup(ctx context.Context, id string) (enrich.Container, error) {
	c, err := r.container.CallUnary(ctx, connect.NewRequest(&ContainerStatusRequest{ContainerId: id}))
	switch {
	case err == nil:
		s := c.Msg.GetStatus()
		if s.GetId() != id {
			return enrich.Container{}, enrich.ErrNoContainer
		}
		return enrich.Container{Name: s.GetMetadata().GetName(), Image: imageOf(s), Labels: s.GetLabels()}, nil
	case connect.CodeOf(err) != connect.CodeNotFound:
		return enrich.Container{}, fmt.Errorf("cri: %s: %w", r.socket, err)
	}
	p, err := r.sandbox.CallUnary(ctx, connect.NewRequest(&PodSandboxStatusRequest{PodSandboxId: id}))
	switch {
	case err == nil:
		s := p.Msg.GetStatus()
		if s.GetId() != id {
			return enrich.Container{}, enrich.ErrNoContainer
		}
		return enrich.Container{Name: s.GetMetadata().GetName(), Labels: s.GetLabels()}, nil
	case connect.CodeOf(err) == connect.CodeNotFound:
		return enrich.Container{}, enrich.ErrNoContainer
	}
	return enrich.Container{}, fmt.Errorf("cri: %s: %w", r.socket, err)
}

// imageOf returns the image as the pod's author wrote it, as far as is known.
func imageOf(s *ContainerStatus) string {
	for _, image := range []string{s.GetImage().GetUserSpecifiedImage(), s.GetImage().GetImage()} {
		if image != "" {
			return image
		}
	}
	return s.GetImageRef()
}
