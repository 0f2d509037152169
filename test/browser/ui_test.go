package browser

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

// program builds taskwatch.
func program(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "taskwatch")
	if out, err := exec.CommandContext(t.Context(), "go", "-C", "../..", "build", "-o", file, "./cmd/taskwatch").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

// start starts taskwatch, which a signal ends with the test, and returns its
// first line on standard output or, where first is set, the first one on standard
// error with that in it.
func start(t *testing.T, file, first string, args ...string) string {
	t.Helper()
	c := exec.Command(file, args...)
	pipe := c.StdoutPipe
	if first != "" {
		pipe = c.StderrPipe
	}
	out, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		in := bufio.NewScanner(out)
		for found := false; in.Scan(); {
			if !found && strings.Contains(in.Text(), first) {
				found = true
				line <- in.Text()
			}
		}
		close(line)
	}()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
		<-read
		_ = c.Wait() // it was ended
	})
	select {
	case l, ok := <-line:
		if !ok {
			t.Fatalf("taskwatch %q has ended", args)
		}
		return l
	case <-time.After(patience):
		t.Fatalf("taskwatch %q does not begin", args)
	}
	return ""
}

// recording is a file that is written while it is shown.
type recording struct {
	run
	name string
	file *os.File
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	r := &recording{name: filepath.Join(t.TempDir(), "build.jsonl")}
	var err error
	if r.file, err = os.Create(r.name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.file.Close() })
	r.pid = 1
	r.sink = taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if _, err := r.file.Write(record.Append(nil, it)); err != nil {
			t.Error(err)
		}
	})
	r.sink.Take(taskwatch.Item{Start: &taskwatch.Start{Time: time.Unix(1e9, 0), Source: "test", Command: []string{"make"}}})
	return r
}

// wide fails if the page is wider than the screen.
func wide(t testing.TB, ctx context.Context) {
	t.Helper()
	if over := eval[int](t, ctx, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		t.Errorf("the page %s is %d pixels too wide at 400", eval[string](t, ctx, `location.hash`), over)
	}
}

// A recording is shown while it grows; the filter completes names, says what is
// wrong, and chooses; the end is known.
func TestUIRecording(t *testing.T) {
	testutil.Long(t)
	r := newRecording(t)
	r.exec(1, 0, "/usr/bin/make", "-j8")
	r.exec(2, 1, "/usr/bin/cc", "-c", "one.c")
	ctx := browse(t, 1400, 1000)
	open(t, ctx, start(t, program(t), "", "ui", r.name))
	await(t, ctx, `taskwatch.model.processes === 2`)
	await(t, ctx, `document.querySelector('#state').textContent.includes('growing')`)
	if url := eval[string](t, ctx, `location.href + document.cookie`); strings.Contains(url, "token") || strings.Contains(url, "taskwatch-") {
		t.Errorf("a script sees %q", url)
	}
	r.event(taskwatch.Exit, 2, 1, nil)
	r.build(100)
	await(t, ctx, `taskwatch.model.processes === 102`) // one of them before
	await(t, ctx, `taskwatch.model.critical.length > 0`)

	// Complete a name, by keys.
	do(t, ctx, chromedp.Focus("#expr"), chromedp.KeyEvent("exit.c"))
	await(t, ctx, `document.querySelector('#expr').getAttribute('aria-expanded') === 'true'`)
	do(t, ctx, chromedp.KeyEvent(kb.Tab))
	if got := eval[string](t, ctx, `document.querySelector('#expr').value`); got != "exit.code" {
		t.Errorf("exit.c becomes %q", got)
	}
	do(t, ctx, chromedp.KeyEvent(" = 2"+kb.Enter))
	await(t, ctx, `!document.querySelector('#mistake').hidden`)
	if text := eval[string](t, ctx, `document.querySelector('#mistake').textContent`); !strings.Contains(text, "^") || !strings.Contains(text, "to compare is ==") {
		t.Errorf("the mistake is shown as %q", text)
	}
	shot(t, ctx, "ui-mistake")
	do(t, ctx, chromedp.KeyEvent(kb.Backspace+kb.Backspace+"= 2"+kb.Enter))
	await(t, ctx, `document.querySelector('#found').textContent.startsWith('1 of')`)
	if rows := eval[[]string](t, ctx, `[...document.querySelectorAll('#table tbody tr')].map(r => r.textContent)`); len(rows) != 1 || !strings.Contains(rows[0], "file99.c") {
		t.Errorf("exit.code == 2 chooses %q", rows)
	}
	if _, err := r.file.Write(record.AppendEnd(nil)); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, `document.querySelector('#state').textContent.includes('complete')`)
	shot(t, ctx, "ui-recording")
	do(t, ctx, chromedp.EmulateViewport(400, 860))
	wide(t, ctx)
	shot(t, ctx, "ui-recording-narrow")
	perform(t, ctx, `location.hash = '#processes'`)
	wide(t, ctx)
}

// Of a daemon the page shows what happens now, its processes and its modules,
// which clicks load and unload; what a program chooses is text.
func TestUIDaemon(t *testing.T) {
	testutil.Long(t)
	testutil.Root(t)
	socket := filepath.Join(t.TempDir(), "s")
	file := program(t)
	start(t, file, "serving", "serve", "--socket", socket)
	ctx := browse(t, 1400, 1000)
	open(t, ctx, start(t, file, "", "ui", "--socket", socket))
	await(t, ctx, `document.querySelector('#state').textContent === 'live'`)
	hostile := []string{`<img src=x onerror="window.pwned=1">`, `</script><script>window.pwned=2</script>`, "\x1b[31m\u202e"}
	child := exec.Command("sh", append([]string{"-c", "read x; exit 3", "the-child"}, hostile...)...)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := func() {
		_ = in.Close()
		_ = child.Wait() // it fails
	}
	defer ended()
	ours := fmt.Sprintf(`taskwatch.model.pid.findLastIndex((p) => p === %d)`, child.Process.Pid)
	await(t, ctx, fmt.Sprintf(`%[1]s >= 0 && taskwatch.model.command(%[1]s).includes('the-child')`, ours))
	if got := eval[string](t, ctx, fmt.Sprintf(`taskwatch.model.status(%s)`, ours)); got != "running" {
		t.Errorf("it is %s", got)
	}

	// The processes, and from there to the timeline.
	do(t, ctx, chromedp.Click(`nav a[href="#processes"]`))
	row := fmt.Sprintf(`[...document.querySelectorAll('#tree tbody tr')].find((r) => r.cells[0].textContent === '%d')`, child.Process.Pid)
	await(t, ctx, fmt.Sprintf(`%s?.textContent.includes('<img src=x') === true`, row))
	shot(t, ctx, "ui-processes")
	perform(t, ctx, fmt.Sprintf(`%s.querySelector('button').click()`, row))
	await(t, ctx, `!document.querySelector('#details').hidden && document.querySelector('#details').textContent.includes('the-child')`)
	shot(t, ctx, "ui-live")
	ended()
	await(t, ctx, fmt.Sprintf(`taskwatch.model.status(%s) === 'exit 3'`, ours))
	await(t, ctx, `document.querySelector('#details').textContent.includes('exit 3')`)

	// The modules, by clicks.
	do(t, ctx, chromedp.Click(`#modules-link`))
	await(t, ctx, `!document.querySelector('#load').hidden`)
	perform(t, ctx, `document.querySelector('#load-stock').value = 'execrule'; document.querySelector('#load-stock').dispatchEvent(new Event('change'))`)
	do(t, ctx, chromedp.SendKeys(`#load-params`, "none=1"), chromedp.Click(`#load-observe`), chromedp.Click(`#load-button`))
	await(t, ctx, `document.querySelector('#load-error').textContent.includes('none')`)
	dir := t.TempDir()
	perform(t, ctx, fmt.Sprintf(`document.querySelector('#load-params').value = 'program=%s/'`, dir))
	do(t, ctx, chromedp.Click(`#load-button`))
	await(t, ctx, `document.querySelector('#modules tbody tr th')?.textContent === 'execrule' && !document.querySelector('#module').hidden`)
	await(t, ctx, fmt.Sprintf(`document.querySelector('#watchers').textContent.includes('exec') && document.querySelector('#params').textContent.includes('%s/')`, dir))
	// Calls, what would be denied, and variables are those of the module.
	old := filepath.Join(dir, "old")
	if program, err := os.ReadFile("/bin/true"); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(old, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(old).Run(); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, `(() => {
		const cell = (table, row, at) => [...document.querySelectorAll(table + ' tbody tr')].find((r) => r.cells[0].textContent === row)?.cells[at].textContent;
		const calls = Number(cell('#watchers', 'exec', 2)?.replace(/\D/g, ''));
		return calls > 0 && cell('#modules', 'execrule', 6) === '1' && cell('#globals', 'refused', 1) === '1' && Number(cell('#globals', 'asked', 1)) > 0;
	})()`)
	do(t, ctx, chromedp.EmulateViewport(1100, 960))
	perform(t, ctx, `scrollTo(0, 0)`)
	shot(t, ctx, "ui-modules")
	perform(t, ctx, `taskwatch.theme('dark')`)
	do(t, ctx, chromedp.Click(`#modules tbody td button`))
	await(t, ctx, `document.querySelector('#unload').open`)
	shot(t, ctx, "ui-unload")
	do(t, ctx, chromedp.EmulateViewport(400, 860))
	do(t, ctx, chromedp.Click(`#unload-no`))
	await(t, ctx, `!document.querySelector('#unload').open && document.querySelectorAll('#modules tbody tr').length === 1`)
	wide(t, ctx)
	shot(t, ctx, "ui-modules-narrow")
	do(t, ctx, chromedp.Click(`#modules tbody td button`), chromedp.Click(`#unload-yes`))
	await(t, ctx, `document.querySelectorAll('#modules tbody tr').length === 0 && !document.querySelector('#no-modules').hidden`)
	for _, page := range []string{"processes", "timeline"} {
		perform(t, ctx, fmt.Sprintf(`location.hash = '#%s'`, page))
		await(t, ctx, fmt.Sprintf(`document.querySelector('nav a[aria-current]').hash === '#%s'`, page))
		wide(t, ctx)
		shot(t, ctx, "ui-"+page+"-narrow")
	}
	if eval[bool](t, ctx, `'pwned' in window`) {
		t.Error("a text ran")
	}
	// Every table has a name, and every head of a column says so.
	if bad := eval[[]string](t, ctx, `[...document.querySelectorAll('table')].filter((t) => !t.caption && !t.getAttribute('aria-label') && !t.closest('#help')).map((t) => t.id).concat([...document.querySelectorAll('thead th')].filter((h) => h.scope !== 'col' && !h.ariaHidden).map((h) => h.textContent))`); len(bad) > 0 {
		t.Errorf("without a name or a scope: %q", bad)
	}
}
