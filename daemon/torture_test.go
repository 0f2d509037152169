package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Several clients load and unload the same modules while programs are run as
// fast as one shell can: nothing is loaded twice or lost, every reference
// comes back, and two modules and a stream that are there all the time miss
// nothing.
func TestTorture(t *testing.T) {
	testutil.Root(t)
	kernelObject, wasmObject := kernelFile(t, execCounter), wasmFile(t, execCounter)
	r := start(t, Config{})
	r.load(t, "inkernel", kernelObject, param("uid", stranger))
	r.load(t, "insandbox", wasmObject, param("uid", stranger))
	witness, err := r.Client.Events(t.Context(), connect.NewRequest(&api.EventsRequest{
		Events: []string{"exec"}, Filter: &api.Filter{Uid: []uint32{stranger}},
	}))
	if err != nil || !witness.Receive() {
		t.Fatal(err, witness.Err())
	}
	var seen collector
	var seenExecs atomic.Int64
	var watching sync.WaitGroup
	watching.Go(func() {
		for witness.Receive() {
			seen.add(t, witness.Msg().Lines, 0)
			seenExecs.Store(int64(seen.execs))
		}
	})

	var stop atomic.Bool
	execs := 0
	var storm sync.WaitGroup
	storm.Go(func() {
		for !stop.Load() {
			execLoad(t, 50)
			execs += 51
		}
	})

	names := []string{"k1", "k2", "w1", "w2", "w3"}
	var loads, unloads [5]atomic.Int32
	var clients sync.WaitGroup
	for client := range 4 {
		clients.Go(func() {
			opts := []connect.ClientOption{nil, connect.WithGRPC(), connect.WithProtoJSON(), connect.WithGRPCWeb()}[client : client+1]
			transport := r.Client.transport.Clone()
			defer transport.CloseIdleConnections()
			if client == 1 { // gRPC wants HTTP/2
				transport.Protocols = new(http.Protocols)
				transport.Protocols.SetUnencryptedHTTP2(true)
			}
			if opts[0] == nil {
				opts = nil
			}
			c := api.NewDaemonClient(&http.Client{Transport: transport}, "http://daemon", opts...)
			for i := range 24 {
				n := (i*7 + client*3) % len(names)
				file := kernelObject
				if strings.HasPrefix(names[n], "w") {
					file = wasmObject
				}
				if i%2 == 0 {
					_, err := c.Load(t.Context(), connect.NewRequest(&api.LoadRequest{Name: names[n], File: file}))
					count(t, &loads[n], err, connect.CodeAlreadyExists, connect.CodeAborted)
				} else {
					_, err := c.Unload(t.Context(), connect.NewRequest(&api.UnloadRequest{Name: names[n]}))
					count(t, &unloads[n], err, connect.CodeNotFound, connect.CodeAborted)
				}
				checkList(t, c)
			}
		})
	}
	clients.Wait()
	stop.Store(true)
	storm.Wait()

	there := map[string]bool{}
	for _, m := range r.modules(t) {
		there[m.Name] = true
		if m.State != "live" || m.References != 2 || m.Drops != 0 {
			t.Errorf("module %v", m)
		}
	}
	total := int32(0)
	for n, name := range names {
		left := loads[n].Load() - unloads[n].Load()
		if left != 0 && left != 1 || there[name] != (left == 1) {
			t.Errorf("%s was loaded %d times and unloaded %d times, and is there: %v", name, loads[n].Load(), unloads[n].Load(), there[name])
		}
		total += loads[n].Load()
		if there[name] {
			r.unload(t, name)
		}
	}
	t.Logf("%d loads under %d execs", total, execs)
	if total < 10 {
		t.Errorf("%d loads are no torture", total)
	}

	// Those that were there all the time have it all.
	insandbox := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the witness in the sandbox has counted %s of %d execs", insandbox, execs)
		}
	})
	eventually(t, "the witness in the sandbox has all", func() bool {
		insandbox = r.global(t, "insandbox", "execs")
		return insandbox == strconv.Itoa(execs)
	})
	if got := r.global(t, "inkernel", "execs"); got != strconv.Itoa(execs) {
		t.Errorf("the witness in the kernel counted %s execs, want %d", got, execs)
	}
	eventually(t, "the stream has all", func() bool { return seenExecs.Load() >= int64(execs) })
	witness.Close()
	watching.Wait()
	if seen != (collector{execs: execs, lines: execs}) {
		t.Errorf("the stream had %+v, want %d execs and nothing else", seen, execs)
	}

	// Every reference came back.
	r.unload(t, "inkernel")
	r.unload(t, "insandbox")
	eventually(t, "the stream is gone", func() bool { return r.hub.count() == 0 })
	list, err := r.host.Table().Modules()
	if err != nil || len(list) != 1 || !list[0].Builtin {
		t.Errorf("the table has %+v, %v; want the built-in alone", list, err)
	}
	if list := r.registry.Modules(); len(list) != 0 {
		t.Errorf("the registry has %+v, want nothing", list)
	}
}

// count counts what succeeded, and fails on errors that concurrency does not
// explain.
func count(t testing.TB, n *atomic.Int32, err error, accepted ...connect.Code) {
	t.Helper()
	if err == nil {
		n.Add(1)
		return
	}
	for _, code := range accepted {
		if connect.CodeOf(err) == code {
			return
		}
	}
	t.Error(err)
}

// checkList fails if a module is listed twice, or a live one lacks references.
func checkList(t testing.TB, c api.DaemonClient) {
	t.Helper()
	list, err := c.List(t.Context(), connect.NewRequest(&api.ListRequest{}))
	if err != nil {
		t.Error(err)
		return
	}
	seen := map[string]bool{}
	for _, m := range list.Msg.Modules {
		if seen[m.Name] {
			t.Errorf("%s is listed twice", m.Name)
		}
		seen[m.Name] = true
		if (m.Name == "inkernel" || m.Name == "insandbox") && (m.State != "live" || m.References != 2) {
			t.Errorf("module %v", m)
		}
	}
}

// kernelIDs returns the BPF objects that this process holds, by what fdinfo
// calls their ids.
func kernelIDs(t testing.TB) map[string][]uint32 {
	t.Helper()
	files, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string][]uint32{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // closed meanwhile
		}
		for line := range strings.Lines(string(b)) {
			for _, kind := range []string{"map_id", "prog_id", "link_id"} {
				var id uint32
				if _, err := fmt.Sscanf(line, kind+": %d", &id); err == nil {
					ids[kind] = append(ids[kind], id)
				}
			}
		}
	}
	return ids
}

// When the daemon has ended, nothing of it is left in the kernel.
func TestNothingIsLeftInTheKernel(t *testing.T) {
	file := kernelFile(t, execCounter)
	before := kernelIDs(t)
	r := start(t, Config{})
	r.load(t, "a", file)
	r.load(t, "b", file)
	ids := kernelIDs(t)
	for _, kind := range []string{"map_id", "prog_id", "link_id"} {
		if len(before[kind]) > 0 || len(ids[kind]) == 0 {
			t.Fatalf("%s: %v before, %v while it runs", kind, before[kind], ids[kind])
		}
	}
	r.stop(t)
	if after := kernelIDs(t); len(after) > 0 {
		t.Errorf("still held: %v", after)
	}
	open := map[string]func(uint32) (interface{ Close() error }, error){
		"map_id":  func(id uint32) (interface{ Close() error }, error) { return ebpf.NewMapFromID(ebpf.MapID(id)) },
		"prog_id": func(id uint32) (interface{ Close() error }, error) { return ebpf.NewProgramFromID(ebpf.ProgramID(id)) },
		"link_id": func(id uint32) (interface{ Close() error }, error) { return link.NewFromID(link.ID(id)) },
	}
	for kind, list := range ids {
		for _, id := range list {
			eventually(t, fmt.Sprintf("%s %d is gone", kind, id), func() bool {
				o, err := open[kind](id)
				if err == nil {
					o.Close()
					runtime.GC() // cilium/ebpf maps variables into memory until it is collected
				}
				return errors.Is(err, os.ErrNotExist)
			})
		}
	}
}
