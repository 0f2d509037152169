package enrich

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Container is what a runtime knows about a container.
type Container struct {
	Name   string
	Image  string
	Labels map[string]string
}

// Runtime looks up containers by id.
type Runtime interface {
	// Lookup returns a container, or ErrNoContainer. It may take a long time.
	Lookup(ctx context.Context, id string) (Container, error)
}

// ErrNoContainer says that a runtime has no container of that id.
var ErrNoContainer = errors.New("enrich: no such container")

// docker is the API that Docker and podman serve on a socket.
type docker struct {
	client http.Client
	socket string
}

// maxAnswer limits how much of an answer is read.
const maxAnswer = 4 << 20

// newDocker returns the runtime behind docker.sock or podman.sock.
func newDocker(socket string) Runtime {
	d := &docker{socket: socket}
	d.client.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		MaxIdleConns: 1, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
	return d
}

func (d *docker) Lookup(ctx context.Context, id string) (Container, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://runtime/containers/"+url.PathEscape(id)+"/json", nil)
	if err != nil {
		return Container{}, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return Container{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return Container{}, err
	case resp.StatusCode == http.StatusNotFound:
		return Container{}, ErrNoContainer
	case resp.StatusCode != http.StatusOK:
		return Container{}, fmt.Errorf("enrich: %s answers %s", d.socket, resp.Status)
	}
	var c struct {
		ID, Name  string
		ImageName string // podman's
		Config    struct {
			Image  string
			Labels map[string]string
		}
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return Container{}, fmt.Errorf("enrich: %s: %w", d.socket, err)
	}
	if c.ID != id {
		return Container{}, ErrNoContainer
	}
	image := c.Config.Image
	if image == "" {
		image = c.ImageName
	}
	return Container{Name: strings.TrimPrefix(c.Name, "/"), Image: image, Labels: c.Config.Labels}, nil
}
