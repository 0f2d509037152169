package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

var bpfID = regexp.MustCompile(`(?m)^(map|prog|link)_id:\s*([0-9]+)$`)

// bpfIDs returns the BPF objects that a process holds, by kind.
func bpfIDs(t testing.TB, pid int) map[string][]uint32 {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string][]uint32{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // closed meanwhile
		}
		for _, m := range bpfID.FindAllStringSubmatch(string(b), -1) {
			id, err := strconv.ParseUint(m[2], 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			ids[m[1]] = append(ids[m[1]], uint32(id))
		}
	}
	return ids
}

// bpfGone reports whether an object is no longer in the kernel. Programs and
// maps are not opened for that: a map would live on as long as its memory is
// mapped, which is until the next garbage collection.
func bpfGone(kind string, id uint32) bool {
	switch kind {
	case "map":
		next, err := ebpf.MapGetNextID(ebpf.MapID(id - 1))
		return errors.Is(err, os.ErrNotExist) || err == nil && next != ebpf.MapID(id)
	case "prog":
		next, err := ebpf.ProgramGetNextID(ebpf.ProgramID(id - 1))
		return errors.Is(err, os.ErrNotExist) || err == nil && next != ebpf.ProgramID(id)
	}
	l, err := link.NewFromID(link.ID(id))
	if err == nil {
		l.Close()
	}
	return errors.Is(err, os.ErrNotExist)
}

// Whenever a daemon is killed, at its start, while modules come and go or while
// it serves, nothing of it is left in the kernel, and the next one takes its
// socket. That it leaves no process behind, TestMain sees.
func TestServeKilledAtAnyTime(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t)
	needsClang(t)
	object, wasm := buildBoth(t, "count", countModule)
	socket := filepath.Join(t.TempDir(), "s")
	seen, served := map[string]bool{}, 0
	longest := time.Duration(testutil.Size(1, 1, 3)) * time.Second
	for round := range testutil.Size(2, 4, 200) {
		s := cmd(t, "serve", "--socket", socket)
		var log screen
		s.Stderr = &log
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		var busy sync.WaitGroup
		stop := make(chan struct{})
		busy.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if !log.Has("serving")() {
					time.Sleep(time.Millisecond)
					continue
				}
				for _, file := range []string{object, wasm} { // either may meet the end
					tw(t, "insmod", "--socket", socket, "--name", fmt.Sprint("m", n), file)
					tw(t, "rmmod", "--socket", socket, fmt.Sprint("m", n))
				}
			}
		})
		held := map[string]map[uint32]bool{}
		// Every other one is killed while it serves, however long its start takes.
		var end time.Time
		if round%2 == 0 {
			end = time.Now().Add(rand.N(longest))
		}
		for ; end.IsZero() || time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if state(s.Process.Pid) == 'Z' {
				t.Fatal("serve has ended: ", log.String())
			}
			if end.IsZero() && log.Has("serving")() {
				end = time.Now().Add(rand.N(longest))
			}
			for kind, ids := range bpfIDs(t, s.Process.Pid) {
				for _, id := range ids {
					if held[kind] == nil {
						held[kind] = map[uint32]bool{}
					}
					held[kind][id] = true
					seen[kind] = true
				}
			}
		}
		if err := s.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = s.Wait()
		close(stop)
		busy.Wait()
		if log.Has("serving")() {
			served++
		}
		for kind, ids := range held {
			for id := range ids {
				eventually(t, fmt.Sprintf("the %s %d is gone", kind, id), func() bool { return bpfGone(kind, id) })
			}
		}
	}
	t.Logf("%d daemons served when they were killed; they held %v", served, seen)
	if served == 0 || !seen["map"] || !seen["prog"] || !seen["link"] {
		t.Errorf("%d daemons served when they were killed, which held %v: that shows nothing", served, seen)
	}
	last := startServe(t, socket, nil)
	last.must(t, "insmod", object)
	last.stop(t) // and the socket is gone
}

// attacker speaks HTTP/2 with a daemon, frame by frame.
type attacker struct {
	net.Conn
	*http2.Framer
	header []byte // of a call of List
}

func attack(t testing.TB, socket string) *attacker {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	a := &attacker{Conn: c, Framer: http2.NewFramer(c, c)}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "daemon"}, {":path", api.DaemonListProcedure}, {"content-type", "application/json"}} {
		if err := enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	a.header = block.Bytes()
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, c) }() // until it is closed
	return a
}

// until calls a function so many times, or until the daemon hangs up.
func until(n int, f func(i int) error) (done int) {
	for done < n && f(done) == nil {
		done++
	}
	return done
}

// confine puts a process into a cgroup with that much memory: what takes more is
// killed by the kernel. Without a place for one it says so.
func confine(t testing.TB, pid, most int) {
	t.Helper()
	// put writes to a file that is there: elsewhere than in a cgroup there is none.
	put := func(path string, n int) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(strconv.Itoa(n))
		return errors.Join(err, f.Close())
	}
	for root, file := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		dir := filepath.Join(root, fmt.Sprintf("taskwatch-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { // once what is in it has ended
			eventually(t, "the cgroup is removed", func() bool { return os.Remove(dir) == nil })
		})
		if put(filepath.Join(dir, file), most) != nil {
			continue
		}
		if err := put(filepath.Join(dir, "cgroup.procs"), pid); err != nil {
			t.Fatal(err)
		}
		t.Logf("it is in %s, with %s of %d MB", dir, file, most>>20)
		return
	}
	t.Log("there is no cgroup for memory here: what the kernel counts of the process has to do")
}

// What clients and modules can do to a daemon, one after the other and then a
// bit of everything: root is answered all the time, and the memory stays
// below 300 MB.
func TestServeUnderAttack(t *testing.T) {
	testutil.Root(t)
	testutil.Nightly(t)
	needsClang(t)
	const most = 300 << 20
	hostile := filepath.Join(t.TempDir(), "hostile.wasm")
	source, err := filepath.Abs("../../module/wasm/testdata/hostile.c")
	if err != nil {
		t.Fatal(err)
	}
	if r := tw(t, "module", "build", source, "-o", hostile); r.status != 0 {
		t.Fatalf("module build: %+v", r)
	}
	s := startServe(t, filepath.Join(t.TempDir(), "s"), nil)
	confine(t, s.cmd.Process.Pid, most)
	check := func(what string, did int) {
		t.Helper()
		s.must(t, "lsmod")
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		var kb int
		_, line, _ := strings.Cut(string(b), "VmHWM:")
		if _, err := fmt.Sscan(line, &kb); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d; at most %d MB", what, did, kb>>10)
		if kb<<10 > most {
			t.Errorf("%s: the daemon took %d MB", what, kb>>10)
		}
	}
	check("nothing", 0)

	check("connections", until(10_000, func(i int) error {
		c, err := net.Dial("unix", s.socket)
		if err != nil {
			return err
		}
		if i%2 == 0 {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\n") // and no more
		}
		if i%100 != 0 {
			return c.Close()
		}
		t.Cleanup(func() { c.Close() }) // it stays
		return nil
	}))

	a := attack(t, s.socket)
	check("resets", until(20_000, func(i int) error {
		id := uint32(2*i + 1)
		return errors.Join(a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.header, EndHeaders: true}), a.WriteRSTStream(id, http2.ErrCodeCancel))
	}))
	a = attack(t, s.socket)
	check("pings", until(200_000, func(int) error { return a.WritePing(false, [8]byte{}) }))
	a = attack(t, s.socket)
	check("settings", until(100_000, func(int) error { return a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}) }))
	a = attack(t, s.socket)
	check("continuations", until(100_000, func(i int) error {
		if i == 0 {
			return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.header})
		}
		return a.WriteContinuation(1, false, bytes.Repeat([]byte{0x00, 1, 'a', 1, 'b'}, 3000))
	}))
	a = attack(t, s.socket)
	check("empty data", until(100_000, func(i int) error {
		if i == 0 {
			return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.header, EndHeaders: true})
		}
		return a.WriteData(1, false, nil)
	}))

	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 40<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	check("gzip", until(250, func(int) error {
		c, err := net.Dial("unix", s.socket)
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", api.DaemonListProcedure, bomb.Len(), bomb.Bytes())
		return nil
	}))

	for mode := 1; mode <= 13; mode++ {
		eventually(t, "the daemon has closed the connections of before", func() bool {
			r := s.tw(t, "insmod", "--allow-observe-only", "--name", "hostile", hostile, fmt.Sprint("mode=", mode), "deadline=20ms")
			if r.status != 0 && !strings.Contains(r.stderr, "64 connections") {
				t.Fatalf("insmod: %+v", r)
			}
			return r.status == 0
		})
		load(t, 20)
		var readers sync.WaitGroup
		for range 70 {
			readers.Go(func() { s.tw(t, "modinfo", "hostile") }) // it may be busy
		}
		check("hostile module", mode)
		readers.Wait()
		s.must(t, "rmmod", "hostile")
	}
	if err := unix.Kill(s.cmd.Process.Pid, 0); err != nil {
		t.Error(err)
	}
	s.stop(t)
}
