package daemon

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// dial connects to the daemon.
func (r *running) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// cutOff waits until the daemon has closed a connection, and returns what it
// has said before.
func cutOff(t testing.TB, what string, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s is not cut off", what)
	}
	return string(b)
}

// Connections that are opened and not used are given up, and cannot be so many
// that others get none.
func TestHalfOpenClients(t *testing.T) {
	testutil.Root(t)
	testutil.Require(t, needsConnector)
	t.Parallel()
	few := defaultLimits
	few.header, few.body, few.idle, few.conns, few.kept = time.Second, time.Second, time.Second, 8, 0
	r := startLimited(t, Config{Source: "connector", Group: strconv.Itoa(nobody)}, few)
	var conns []net.Conn
	for range 3 * few.conns {
		conns = append(conns, r.dial(t))
	}
	for _, c := range conns[few.conns:] {
		cutOff(t, "a connection too many", c)
	}
	// root's are used up, and nobody's are not.
	if out, status := r.curlAs(t, nobody, nobody, nil, append(jsonBody, "{}", listURL)...); out != "{}" || status != 0 {
		t.Errorf("another user got %q, status %d", out, status)
	}
	for i, c := range conns[:few.conns] {
		var say string
		switch i % 4 {
		case 1:
			say = "GET /events HTTP/1.1\r\nHost: x\r\nX: " // a header that does not end
		case 2:
			say = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // HTTP/2 that says no more
		case 3: // a body that does not come
			say = "POST /taskwatch.v1.Daemon/List HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
		}
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range conns[:few.conns] {
		cutOff(t, fmt.Sprintf("half-open connection %d", i), c)
	}
	eventually(t, "root can connect again", func() bool { return r.modules(t) == nil })
	if !strings.Contains(r.log.String(), "there are too many") {
		t.Error("the rejections are not in the log")
	}
}

// What is too large, or no request at all, is rejected and not kept.
func TestOversizedClients(t *testing.T) {
	testutil.Require(t, needsConnector)
	r := start(t, Config{Source: "connector"})
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	for range maxLoad>>20 + 2 { // spaces, which JSON does not mind
		z.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	z.Close()
	post := func(procedure, extra string, length int) string {
		return fmt.Sprintf("POST /taskwatch.v1.Daemon/%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n", procedure, extra, length)
	}
	for _, c := range []struct {
		name, header string
		body         io.Reader
		want         string
	}{
		{"a large List", post("List", "", 100<<20), io.LimitReader(zeros{}, 100<<20), "resource_exhausted"},
		{"a large Load", post("Load", "", 100<<20), io.LimitReader(zeros{}, 100<<20), "resource_exhausted"},
		{"a bomb", post("Load", "Content-Encoding: gzip\r\nConnection: close\r\n", bomb.Len()), &bomb, "unimplemented"},
		{"a large header", "GET /events HTTP/1.1\r\nHost: x\r\nX: ", io.LimitReader(zeros{}, 1<<20), "HTTP/1.1 431 "},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", nil, "HTTP/1.1 400 "},
		{"no procedure", post("Dance", "", 2), strings.NewReader("{}"), "HTTP/1.1 404 "},
		{"no page", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", nil, "HTTP/1.1 404 "},
		{"a browser's form", "POST /taskwatch.v1.Daemon/Unload HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", nil, "HTTP/1.1 415 "},
	} {
		conn := r.dial(t)
		go func() {
			io.WriteString(conn, c.header)
			if c.body != nil {
				io.Copy(conn, c.body) // ends when the daemon closes
			}
		}()
		var got string
		if c.name == "no procedure" {
			b := make([]byte, 1024)
			n, _ := conn.Read(b)
			got = string(b[:n])
			conn.Close()
		} else {
			got = cutOff(t, c.name, conn)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %.300q, want %s", c.name, got, c.want)
		}
	}
	if list := r.modules(t); list != nil {
		t.Errorf("modules %v, want none", list)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}
