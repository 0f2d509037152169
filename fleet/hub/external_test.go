package hub

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// freePorts returns ports that nobody listens at.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // only then, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// cluster are NATS servers of somebody else.
type cluster struct {
	servers []*server.Server
	options []*server.Options
	ca      string
}

// startCluster runs servers with what the hub of a directory needs in their
// configuration.
func startCluster(t testing.TB, dir string, n int) *cluster {
	t.Helper()
	text, err := ServerConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	owner := t.TempDir()
	a, err := makeAuthority(owner)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{ca: filepath.Join(owner, caCertFile)}
	ports, routes := freePorts(t, 2*n), []string{}
	for _, p := range ports[n:] {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	for i := range n {
		file := filepath.Join(owner, fmt.Sprintf("%d.conf", i))
		config := fmt.Sprintf("server_name: s%d\nlisten: \"127.0.0.1:%d\"\njetstream { store_dir: %q }\n", i, ports[i], filepath.Join(owner, fmt.Sprintf("js%d", i))) + text
		if n > 1 {
			config += fmt.Sprintf("cluster { name: c, listen: \"127.0.0.1:%d\", routes: [ %s ] }\n", ports[n+i], strings.Join(routes, ", "))
		}
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		opts, err := server.ProcessConfigFile(file)
		if err != nil {
			t.Fatal(err)
		}
		opts.NoSigs, opts.NoLog, opts.TLS = true, true, true
		opts.TLSTimeout = patient.Seconds() // a busy machine needs more than the usual 2 s
		if opts.TLSConfig, err = a.server([]string{"127.0.0.1"}); err != nil {
			t.Fatal(err)
		}
		c.options, c.servers = append(c.options, opts), append(c.servers, nil)
		c.run(t, i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	for _, s := range c.servers {
		if !s.ReadyForConnections(patient) {
			t.Fatal("a server does not listen")
		}
	}
	if n > 1 {
		eventually(t, "the cluster has a leader", func() bool {
			return slices.ContainsFunc(c.servers, func(s *server.Server) bool { return s.JetStreamIsLeader() }) &&
				!slices.ContainsFunc(c.servers, func(s *server.Server) bool { return !s.JetStreamIsCurrent() })
		})
	}
	return c
}

func (c *cluster) run(t testing.TB, i int) {
	t.Helper()
	var err error
	if c.servers[i], err = server.NewServer(c.options[i].Clone()); err != nil {
		t.Fatal(err)
	}
	c.servers[i].Start()
}

func (c *cluster) stop(i int) {
	if c.servers[i] != nil {
		c.servers[i].Shutdown()
		c.servers[i].WaitForShutdown()
		c.servers[i] = nil
	}
}

func (c *cluster) urls() string {
	var list []string
	for _, o := range c.options {
		list = append(list, fmt.Sprintf("tls://127.0.0.1:%d", o.Port))
	}
	return strings.Join(list, ",")
}

// startHubAt runs a hub at servers of others.
func startHubAt(t testing.TB, servers int) *running {
	t.Helper()
	r := &running{dir: filepath.Join(t.TempDir(), "hub")}
	c := startCluster(t, r.dir, servers)
	r.servers, r.ca = c.urls(), c.ca
	r.begin(t)
	return r
}

// A hub at servers of others says what is wrong with them, and remembers their
// certificate.
func TestServersOfOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	c := startCluster(t, dir, 1)
	stranger := t.TempDir()
	if _, err := makeAuthority(stranger); err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct {
		cfg  Config
		says string
	}{
		{Config{Dir: dir, Servers: []string{c.urls()}}, "the certificate of the NATS servers is not known"},
		{Config{Dir: dir, Servers: []string{"http://x"}}, "is not the address of a NATS server"},
		{Config{Dir: dir, Servers: []string{c.urls()}, CA: filepath.Join(stranger, caCertFile)}, "certificate"},
		{Config{Dir: dir, Servers: []string{c.urls()}, CA: c.options[0].ConfigFile}, "has no certificate"},
		{Config{Dir: filepath.Join(stranger, "other"), Servers: []string{c.urls()}, CA: c.ca}, "'taskwatch-hub nats-config' prints"},
		{Config{Dir: dir, Replicas: 3}, "only for servers of others"},
	} {
		h, err := Start(o.cfg)
		if err == nil {
			h.Close()
		}
		if err == nil || !strings.Contains(err.Error(), o.says) {
			t.Errorf("%+v: %v, want an error that says %q", o.cfg, err, o.says)
		}
	}
	for _, ca := range []string{c.ca, ""} {
		h, err := Start(Config{Dir: dir, Servers: []string{c.urls()}, CA: ca})
		if err != nil {
			t.Fatalf("with the certificate %q: %v", ca, err)
		}
		h.Close()
	}
}

// One of three servers may be lost: what was stored is there, and the fleet goes on.
func TestServerIsLost(t *testing.T) {
	testutil.Nightly(t) // three servers elect leaders for a while
	file := counterModule(t)
	dir := filepath.Join(t.TempDir(), "hub")
	c := startCluster(t, dir, 3)
	h := &running{dir: dir, servers: c.urls(), ca: c.ca}
	h.begin(t)
	tm := newTeam(t, h)
	n := newNode(t, h, tm.keys, "n", nil)
	tm.reported(t, 1)
	first := &fleet.Entry{Module: "count", Params: map[string]string{"uid": "1"}}
	tm.want(t, first, file)
	for i := range 3 {
		c.stop(i)
		next := &fleet.Entry{Module: "count", Params: map[string]string{"uid": fmt.Sprint(i + 2)}}
		eventually(t, "the other servers have elected leaders", func() bool { // an entry is rejected until then
			next.Digest, next.Expires = fleet.Digest(file), time.Now().Add(time.Hour)
			err := tm.Put(t.Context(), tm.key, next)
			if err != nil {
				t.Logf("meanwhile: %v", err)
			}
			return err == nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		o, err := tm.Await(ctx, next)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Done) != 1 || o.Done[0].Running != next.Generation {
			t.Errorf("without server %d, the outcome is %+v", i, o)
		}
		c.run(t, i)
		eventually(t, "the server is there again", func() bool { return c.servers[i].JetStreamIsCurrent() })
	}
	if r := tm.report(t, n, "count"); r.State != fleet.Running {
		t.Errorf("at the end: %+v", r)
	}
}
