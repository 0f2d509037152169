package ui

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// patient only bounds a failure.
const patient = time.Minute

// event makes an event of a process.
func event(k taskwatch.Kind, seq, pid, ppid int, name string) *taskwatch.Event {
	ev := &taskwatch.Event{Kind: k, Seq: uint64(seq), MonoNS: int64(seq) * 1e6, Time: time.Unix(1e9, int64(seq)*1e6), Source: "test", Task: &taskwatch.Task{
		ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, PID: pid, TID: pid, PPID: ppid, Exe: "/bin/" + name, Argv: []string{name, fmt.Sprint(seq)}, Comm: name,
	}}
	ev.Exit.Group = k == taskwatch.Exit
	const known = taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldPPID | taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldComm |
		taskwatch.FieldExitCode | taskwatch.FieldExitSignal | taskwatch.FieldExitGroup
	ev.Missing = taskwatch.FieldsOf(k) &^ known
	return ev
}

func lines(items ...taskwatch.Item) (b []byte) {
	for _, it := range items {
		b = record.Append(b, it)
	}
	return b
}

var beginning = taskwatch.Item{Start: &taskwatch.Start{Time: time.Unix(1e9, 0), Source: "test"}}

// recordingOf writes a recording of a process that makes another one, which
// fails.
func recordingOf(t *testing.T, more ...byte) string {
	t.Helper()
	fails := event(taskwatch.Exit, 3, 8, 7, "cc")
	fails.Exit.Code = 3
	b := lines(beginning, taskwatch.Item{Event: event(taskwatch.Exec, 1, 7, 1, "make")}, taskwatch.Item{Event: event(taskwatch.Exec, 2, 8, 7, "cc")}, taskwatch.Item{Event: fails})
	name := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(name, append(b, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// site is a server with a browser that it has let in.
type site struct {
	*Server
	url    string
	cookie *http.Cookie
}

func serve(t *testing.T, cfg Config, l limits) *site {
	t.Helper()
	s, err := newServer(cfg, l)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	at := &site{Server: s, url: server.URL}
	res := at.get(t, strings.TrimPrefix(s.Link(server.Listener.Addr()), server.URL), nil)
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 {
		t.Fatalf("a link is answered with %s and %d cookies", res.Status, len(res.Cookies()))
	}
	at.cookie = res.Cookies()[0]
	return at
}

// request asks without following redirects. The body is the caller's to close.
func (s *site) request(t *testing.T, method, path, body string, change func(*http.Request)) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if s.cookie != nil {
		r.AddCookie(s.cookie)
	}
	if method == http.MethodPost {
		r.Header.Set("Origin", s.url)
	}
	if change != nil {
		change(r)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// get asks, and reads the answer to its end.
func (s *site) get(t *testing.T, path string, change func(*http.Request)) *answered {
	t.Helper()
	return read(t, s.request(t, http.MethodGet, path, "", change))
}

type answered struct {
	*http.Response
	text string
}

func read(t *testing.T, res *http.Response) *answered {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answered{res, string(b)}
}

func end() []byte { return record.AppendEnd(nil) }

// A link lets one browser in, once, and its token is nowhere afterwards.
func TestLink(t *testing.T) {
	used := 0
	s := serve(t, Config{File: recordingOf(t, end()...), OnUsed: func() { used++ }}, defaultLimits)
	if c := s.cookie; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || !strings.HasPrefix(c.Name, "taskwatch-") || used != 1 {
		t.Errorf("the cookie is %v, and the link was used %d times", c, used)
	}
	page := s.get(t, "/", nil)
	if page.StatusCode != http.StatusOK || !strings.Contains(page.text, `id="canvas"`) {
		t.Errorf("the page is %s: %.200s", page.Status, page.text)
	}
	for _, h := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"} {
		if got := page.Header.Get("Content-Security-Policy"); !strings.Contains(got, h) || strings.Contains(got, "unsafe") {
			t.Errorf("the policy %q lacks %q", got, h)
		}
	}
	if strings.Contains(page.text, "http:") || strings.Contains(page.text, "https:") || strings.Contains(page.text, "style=") || strings.Contains(page.text, "<script>") {
		t.Error("the page has what its policy forbids, or asks another server")
	}
	// All that the page names is there, and nothing else is.
	for _, path := range []string{"/timeline/style.css", "/timeline/app.js", "/timeline/element.js", "/page/ui.css", "/page/ui.js", "/page/modules.js"} {
		if r := s.get(t, path, nil); r.StatusCode != http.StatusOK || r.text == "" || !strings.Contains(r.Header.Get("Content-Type"), map[bool]string{true: "css", false: "javascript"}[strings.HasSuffix(path, "css")]) {
			t.Errorf("%s: %s, %s", path, r.Status, r.Header.Get("Content-Type"))
		}
	}
	for _, path := range []string{"/page/top.html", "/page/..%2fui.go", "/page/none.js", "/etc/passwd", "/api/stock/acct", "/api/daemon/List"} {
		if r := s.get(t, path, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	s.cookie = nil
	link := s.Link(strangeAddr("127.0.0.1:1"))
	_, token, _ := strings.Cut(link, "?")
	for n, want := range []int{http.StatusSeeOther, http.StatusForbidden} {
		if r := s.get(t, "/?"+token, nil); r.StatusCode != want {
			t.Errorf("use %d of a link: %s, want %d", n+1, r.Status, want)
		}
	}
	if r := s.get(t, "/?token=", nil); r.StatusCode != http.StatusForbidden {
		t.Errorf("no token: %s", r.Status)
	}
}

type strangeAddr string

func (strangeAddr) Network() string  { return "tcp" }
func (a strangeAddr) String() string { return string(a) }

// Requests that another page makes, under whatever name it knows this machine,
// are rejected.
func TestRejected(t *testing.T) {
	s := serve(t, Config{File: recordingOf(t, end()...)}, defaultLimits)
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	header := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				r.Header.Set(pairs[i], pairs[i+1])
			}
		}
	}
	port := s.url[strings.LastIndex(s.url, ":"):]
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"as it is", nil, 200},
		{"no cookie", func(r *http.Request) { r.Header.Del("Cookie") }, 403},
		{"another cookie", header("Cookie", s.cookie.Name+"=AAAA"), 403},
		{"a name that leads here", host("evil.example" + port), 403},
		{"a name like ours", host("localhost.evil.example" + port), 403},
		{"a number like ours", host("127.0.0.1.evil.example" + port), 403},
		{"another address", host("10.0.0.1" + port), 403},
		{"no host", host(""), 200}, // the client puts in that of the URL
		{"our name", host("localhost" + port), 200},
		{"our number in IPv6", host("[::1]" + port), 200},
		{"our own origin", header("Origin", s.url), 200},
		{"another origin", header("Origin", "http://evil.example"), 403},
		{"another port", header("Origin", "http://127.0.0.1:1"), 403},
		{"no origin that can be named", header("Origin", "null"), 403},
		{"a script of a page at another port", header("Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors"), 403},
		{"an image of another page", header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), 403},
		{"a link of another page to an answer", header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), 403},
		{"the page's own", header("Sec-Fetch-Site", "same-origin"), 200},
		{"an address that was typed", header("Sec-Fetch-Site", "none"), 200},
	} {
		if r := s.get(t, "/api/about", c.change); r.StatusCode != c.want {
			t.Errorf("%s: %s, want %d: %s", c.name, r.Status, c.want, r.text)
		}
	}
	// A cookie is named after the port, and a tunnel may have another one.
	tunnel := func(r *http.Request) { r.Host = "localhost:9999" }
	if r := s.get(t, "/", tunnel); r.StatusCode != http.StatusForbidden {
		t.Errorf("through a tunnel, with the cookie of another server: %s", r.Status)
	}
	if r := s.get(t, strings.TrimPrefix(s.Link(strangeAddr("x")), "http://x"), tunnel); r.StatusCode != http.StatusSeeOther || r.Cookies()[0].Name != "taskwatch-9999" {
		t.Errorf("through a tunnel: %s", r.Status)
	}
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:80", "localhost.example:0", "127.0.0.1"} {
		if l, err := Listen(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "127.0.0.1:0") {
			t.Errorf("%s: listens at %v, %v", addr, l, err)
		}
	}
}

// The lines of a recording are those of a timeline in a file; an expression
// marks what it chooses.
func TestLines(t *testing.T) {
	s := serve(t, Config{File: recordingOf(t, end()...)}, defaultLimits)
	text := s.get(t, "/api/lines", nil).text
	for _, want := range []string{"H\t{", "N\t\"/bin/make\"\n", "B 2 ", "C ", "Z\t\"\"\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the lines lack %q:\n%s", want, text)
		}
	}
	marks := func(where string) (list []string) {
		for line := range strings.Lines(s.get(t, "/api/lines?where="+where, nil).text) {
			if strings.HasPrefix(line, "M ") {
				list = append(list, strings.TrimSpace(line[2:]))
			}
		}
		return list
	}
	for where, want := range map[string]string{
		"": "[]", "exit.code==3": "[1]", `exe=="/bin/make"`: "[0]", `parent.pid==7`: "[0 1]", "pid>0": "[0 1]",
		"uid==0": "[0 1]", // it is not known, as is the parent of the first
	} {
		if got := fmt.Sprint(marks(where)); got != want {
			t.Errorf("%q marks %s, want %s", where, got, want)
		}
	}
}

// What is wrong with an expression is said with its place and what to do.
func TestFilterMistakes(t *testing.T) {
	s := serve(t, Config{File: recordingOf(t, end()...)}, defaultLimits)
	for where, want := range map[string]mistake{
		`exit.kode==1`: {Message: `there is no field "kode" here`, Hint: "did you mean code?", Line: 1, Column: 4},
		`comm`:         {Message: "it is of type string, not true or false", Hint: "compare it with something"},
		`kind=="free"`: {Message: "it is about free, which a timeline does not show", Hint: "there are clone,exec,uid,gid,exit"},
		`pid<pid`:      {},
	} {
		r := s.get(t, "/api/filter?where="+where, nil)
		var got mistake
		if err := json.Unmarshal([]byte(r.text), &got); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %+v", where, r.text, err, want)
		}
		code := http.StatusBadRequest
		if want == (mistake{}) {
			code = http.StatusOK
		}
		if r := s.get(t, "/api/lines?where="+where, nil); r.StatusCode != code {
			t.Errorf("the lines for %s: %s", where, r.Status)
		}
	}
	var about about
	if err := json.Unmarshal([]byte(s.get(t, "/api/about", nil).text), &about); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range about.Names {
		seen[n.Name] = n.Doc != "" && n.Type != ""
	}
	if !seen["exit.code"] || !seen["parent.exe"] || !seen["caps.gained"] || about.Live || about.File != "r.jsonl" {
		t.Errorf("the page is told %+v", about)
	}
}

// A recording that grows is followed, to its end; one that is cut is an error.
func TestGrowing(t *testing.T) {
	name := recordingOf(t)
	s := serve(t, Config{File: name}, defaultLimits)
	in := bufio.NewReader(s.request(t, http.MethodGet, "/api/lines", "", nil).Body)
	until := func(prefix string) string {
		t.Helper()
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("no line %q comes: %v", prefix, err)
			}
			if strings.HasPrefix(line, prefix) {
				return line
			}
		}
	}
	until("P\n") // all that is there was read
	appendTo(t, name, lines(taskwatch.Item{Event: event(taskwatch.Exec, 4, 9, 7, "ld")}))
	until("N\t\"/bin/ld\"")
	appendTo(t, name, end())
	if line := until("Z\t"); line != "Z\t\"\"\n" {
		t.Errorf("it ends with %q", line)
	}
	name = recordingOf(t)
	s = serve(t, Config{File: name}, defaultLimits)
	in = bufio.NewReader(s.request(t, http.MethodGet, "/api/lines", "", nil).Body)
	until("P\n")
	if err := os.Truncate(name, 10); err != nil {
		t.Fatal(err)
	}
	if line := until("Z\t"); !strings.Contains(line, "was cut while it was read; reload the page") {
		t.Errorf("it ends with %q", line)
	}
}

func appendTo(t *testing.T, name string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Files that cannot be shown are named when the server is made.
func TestFilesThatAreNone(t *testing.T) {
	for name, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file or directory; give a file that",
		t.TempDir():                        "is not a file",
		"/dev/null":                        "is not a file",
	} {
		if _, err := New(Config{File: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	name := recordingOf(t, append([]byte("what is that\n"), end()...)...)
	if text := serve(t, Config{File: name}, defaultLimits).get(t, "/api/lines", nil).text; !strings.Contains(text, "Z\t\"") || !strings.Contains(text, "line 5") {
		t.Errorf("a line that is none: %s", text)
	}
}

// A browser that does not read holds up nobody, and is given up; the memory that
// it takes is that of one batch, whatever there is to send.
func TestSlowBrowser(t *testing.T) {
	t.Parallel()
	l := defaultLimits
	l.patience = 2 * time.Second
	l.streams = 1
	name := recordingOf(t)
	const many = 12_000
	var b []byte
	for i := range many {
		b = append(b, lines(taskwatch.Item{Event: event(taskwatch.Exec, 10+i, 7, 1, fmt.Sprintf("%01000d", i))})...)
	}
	appendTo(t, name, append(b, end()...))
	s := serve(t, Config{File: name}, l)
	slow := s.request(t, http.MethodGet, "/api/lines", "", nil) // sends, and does not read
	if r := s.get(t, "/api/lines", nil); r.StatusCode != http.StatusTooManyRequests || !strings.Contains(r.text, "1 pages are open") {
		t.Errorf("one stream too many: %s: %s", r.Status, r.text)
	}
	if r := s.get(t, "/api/about", nil); r.StatusCode != http.StatusOK {
		t.Errorf("beside it: %s", r.Status)
	}
	// Its place becomes free, and another one gets everything.
	deadline := time.Now().Add(patient)
	var r *answered
	for r = s.get(t, "/api/lines?where=pid==8", nil); r.StatusCode == http.StatusTooManyRequests; r = s.get(t, "/api/lines?where=pid==8", nil) {
		if time.Now().After(deadline) {
			t.Fatal("the browser that does not read is not given up")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.HasSuffix(r.text, "Z\t\"\"\n") {
		t.Errorf("the other one gets %d bytes, not to the end", len(r.text))
	}
	got, err := io.ReadAll(slow.Body)
	if err == nil || len(got) >= len(r.text) {
		t.Errorf("the slow one has got %d of %d bytes, %v", len(got), len(r.text), err)
	}
}

// A history is bounded. Each reader gets what is left, and is told what is not.
func TestHistory(t *testing.T) {
	h := newHistory(1000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	add := func(n int) { h.add([]byte(fmt.Sprintf("{\"event\":\"%0100d\",\"seq\":%d}\n", n, n+1))) }
	h.add([]byte("start\n"))
	from := h.open(ctx)
	fetch := func(tp *tape) (text string) {
		for buf := make([]byte, 64); ; {
			n, _, wake, err := tp.more(buf)
			if wake != nil || err != nil {
				return text
			}
			text += string(buf[:n])
		}
	}
	if got := fetch(from); got != "start\n" {
		t.Errorf("at first %q", got)
	}
	for n := range 100 {
		add(n)
	}
	if h.size > 1000 || len(h.parts) > 9 {
		t.Errorf("%d bytes in %d parts are kept of at most 1000", h.size, len(h.parts))
	}
	kept := len(h.parts)
	got := strings.Split(strings.TrimSpace(fetch(from)), "\n")
	var loss taskwatch.Item
	in := record.NewReader(strings.NewReader(got[0]+"\n"), "")
	loss, err := in.Next()
	if err != nil || loss.Loss == nil || loss.Loss.Count != uint64(100-kept) || loss.Loss.Seq != uint64(100-kept+1) || len(got) != 1+kept {
		t.Errorf("a reader that was too slow gets %q, %d lines; want a loss of %d, and %d", got[0], len(got), 100-kept, kept)
	}
	if late := fetch(h.open(ctx)); strings.Contains(late, "lost") || strings.Count(late, "\n") != 1+kept {
		t.Errorf("a reader that comes late gets %q", late)
	}
	h.end(errors.New("over"))
	if _, err := io.ReadAll(from); err == nil || err.Error() != "over" {
		t.Errorf("at the end: %v", err)
	}
}
