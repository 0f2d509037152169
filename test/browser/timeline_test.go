package browser

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
)

func TestTimeline(t *testing.T) {
	testutil.Long(t)
	r, end := begin(t)
	r.build(200)
	url := end()
	ctx := browse(t, 1400, 1000)
	open(t, ctx, url)
	shot(t, ctx, "build")

	// The slowest step is the one that the page marks.
	slowest := eval[string](t, ctx, `document.querySelector('#path tr.longest').textContent`)
	if !strings.Contains(slowest, "file199.c") {
		t.Errorf("the slowest step is said to be %q, want file199.c", slowest)
	}
	if totals := eval[string](t, ctx, `document.querySelector('#totals').textContent`); !strings.Contains(totals, "processes 201") || !strings.Contains(totals, "failed 1") {
		t.Errorf("totals %q", totals)
	}

	// Search, by keys.
	do(t, ctx, chromedp.KeyEvent("/"))
	if id := eval[string](t, ctx, `document.activeElement.id`); id != "search" {
		t.Errorf("the slash leads to %q, want the search", id)
	}
	// A driver sends a key's character even if the page has used the key up.
	perform(t, ctx, `document.querySelector('#search').value = ''`)
	do(t, ctx, chromedp.KeyEvent("file42.c"))
	await(t, ctx, `document.querySelector('#found').textContent.startsWith('1 of')`)
	do(t, ctx, chromedp.KeyEvent(kb.Enter))
	await(t, ctx, `!document.querySelector('#details').hidden`)
	details := eval[string](t, ctx, `document.querySelector('#details').textContent`)
	for _, want := range []string{"/usr/bin/cc6 -c file42.c", "/src", "exit 0", "44"} {
		if !strings.Contains(details, want) {
			t.Errorf("the details %q lack %q", details, want)
		}
	}
	shot(t, ctx, "found")
	if pid := eval[int](t, ctx, `taskwatch.relative('parent'), taskwatch.model.pid[taskwatch.view.selected]`); pid != 1 {
		t.Errorf("the parent is %d, want 1", pid)
	}
	if pid := eval[int](t, ctx, `taskwatch.relative('child'), taskwatch.model.pid[taskwatch.view.selected]`); pid != 2 {
		t.Errorf("the first child is %d, want 2", pid)
	}

	// The failed ones, in the table.
	perform(t, ctx, `document.querySelector('#search').value = ''; const f = document.querySelector('#filter'); f.value = 'failed'; f.dispatchEvent(new Event('change'))`)
	if rows := eval[[]string](t, ctx, `[...document.querySelectorAll('#table tbody tr')].map(r => r.textContent)`); len(rows) != 1 || !strings.Contains(rows[0], "file199.c") {
		t.Errorf("the failed ones are %q, want that of file199.c", rows)
	}

	// A wheel zooms, a drag moves, a click selects.
	before := eval[float64](t, ctx, `taskwatch.view.fit(), taskwatch.view.to - taskwatch.view.from`)
	after := eval[float64](t, ctx, `taskwatch.view.canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: -300, clientX: 400, clientY: 700})), taskwatch.view.to - taskwatch.view.from`)
	if after >= before {
		t.Errorf("the wheel makes %v of %v", after, before)
	}
	// Dark, on a narrow screen.
	do(t, ctx, chromedp.EmulateViewport(400, 900))
	perform(t, ctx, `taskwatch.theme('dark'); taskwatch.view.fit()`)
	if over := eval[int](t, ctx, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		t.Errorf("the page is %d pixels too wide at 400", over)
	}
}

// The recording is that of package export: a build of bzip2.
func TestRecordedBuild(t *testing.T) {
	testutil.Long(t)
	f, err := os.Open("../export/testdata/bzip2.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r, end := begin(t)
	summary := report.NewSummary(report.SummaryOptions{Top: 1, Width: 4000})
	for in := record.NewReader(z, "bzip2.jsonl"); ; {
		it, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		r.sink.Take(it)
		summary.Take(it)
	}
	ctx := browse(t, 1200, 860)
	open(t, ctx, end())
	shot(t, ctx, "timeline")

	// The step that the page marks is the one that the summary has.
	var text bytes.Buffer
	if _, err := summary.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	_, path, _ := strings.Cut(text.String(), "critical path\n")
	lines := strings.SplitN(path, "\n", 3)
	if len(lines) < 3 {
		t.Fatalf("no critical path in %s", text.String())
	}
	fields := strings.Fields(lines[1]) // at, wall, pid, command
	perform(t, ctx, `document.querySelector('#path tr.longest').click()`)
	await(t, ctx, `!document.querySelector('#details').hidden`)
	if pid := eval[int](t, ctx, `taskwatch.model.pid[taskwatch.view.selected]`); fmt.Sprint(pid) != fields[2] {
		t.Errorf("the slowest step is of pid %d, want that of %q", pid, lines[1])
	}
	perform(t, ctx, `taskwatch.theme('dark'); taskwatch.view.fit(); document.querySelector('#tools').scrollIntoView()`)
	shot(t, ctx, "timeline-details")
	do(t, ctx, chromedp.EmulateViewport(400, 860))
	perform(t, ctx, `taskwatch.select(-1); taskwatch.theme('light'); taskwatch.view.fit(); scrollTo(0, 0)`)
	shot(t, ctx, "timeline-narrow")

	pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(pdf, []byte("%PDF")) {
		t.Error("the page does not print")
	}
}

// Nothing that a watched program chooses is ever run or parsed.
func TestHostileTexts(t *testing.T) {
	testutil.Long(t)
	hostile := []string{
		`</script><script>window.pwned=1</script>`, `<img src=x onerror="window.pwned=2">`, `"><svg/onload=window.pwned=3>`,
		`'-alert(1)-'`, "javascript:window.pwned=4", "\u202egnp.exe", "a\nE 0 1 1 1 1 1\t{}", "\x1b[31m", "\xff\xfe", "__proto__", "&lt;b&gt;", `]]>--><!--`, "\u2028window.pwned=5",
	}
	r, end := begin(t)
	r.exec(1, 0, "/bin/sh", "-c", "x")
	for i, h := range hostile {
		pid := i + 2
		r.event(taskwatch.Clone, pid, 1, nil)
		r.event(taskwatch.Exec, pid, 1, func(ev *taskwatch.Event) {
			ev.Task.Argv, ev.Task.Exe, ev.Task.Comm, ev.Task.Cwd, ev.Task.Cgroup = []string{h, h, h}, "/"+h, h, "/"+h, "/"+h
		})
		task := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, PID: pid, TID: pid}
		r.sink.Take(taskwatch.Item{Record: &taskwatch.Record{Module: h, Data: []byte(h), MonoNS: r.now, Task: task}})
		r.sink.Take(taskwatch.Item{Failure: &taskwatch.Failure{Module: h, Watcher: h, Err: fmt.Errorf("%s", h), Kind: taskwatch.Exec, Event: &taskwatch.Event{Kind: taskwatch.Exec, MonoNS: r.now, Task: task}}})
		r.event(taskwatch.Exit, pid, 1, nil)
	}
	r.event(taskwatch.Exit, 1, 0, nil)
	ctx := browse(t, 1400, 1000)
	open(t, ctx, end())
	n := eval[int](t, ctx, `taskwatch.model.size`)
	if want := 1 + 2*len(hostile); n != want {
		t.Errorf("%d slices, want %d: a text was taken for a line", n, want)
	}
	elements := eval[int](t, ctx, `document.querySelectorAll('script, img, svg, b b').length`)
	for i := range n {
		perform(t, ctx, fmt.Sprintf(`taskwatch.select(%d, true)`, i))
	}
	do(t, ctx, chromedp.Sleep(200*time.Millisecond)) // for what an image's error would run
	if got := eval[int](t, ctx, `document.querySelectorAll('script, img, svg, b b').length`); got != elements {
		t.Errorf("texts became %d elements", got-elements)
	}
	if eval[bool](t, ctx, `'pwned' in window`) {
		t.Error("a text ran")
	}
	// The policy stops what the page would not escape.
	if ran := eval[bool](t, ctx, `(() => { const s = document.createElement('script'); s.textContent = 'window.pwned = 6'; document.body.append(s); return 'pwned' in window })()`); ran {
		t.Error("the policy of the page lets scripts in")
	}
	if i := eval[int](t, ctx, `document.querySelector('#search').value = '</script><script>', taskwatch.find(), taskwatch.found.length`); i == 0 {
		t.Error("a hostile text is not found")
	}
	shot(t, ctx, "hostile")
}

// A hundred thousand processes are shown and moved.
func TestManyProcesses(t *testing.T) {
	testutil.Long(t)
	many := testutil.Size(1000, 20_000, 100_000)
	r, end := begin(t)
	r.build(many - 1)
	url := end()
	ctx := browse(t, 1400, 1000)
	open(t, ctx, url)
	if n := eval[int](t, ctx, `taskwatch.model.processes`); n != many {
		t.Errorf("%d processes, want %d", n, many)
	}
	first := eval[float64](t, ctx, `performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1`)
	shown := eval[float64](t, ctx, `taskwatch.shownAt`)
	if shown <= 0 {
		t.Errorf("shown after %v ms", shown)
	}
	frame := eval[float64](t, ctx, `(() => { const v = taskwatch.view; v.show(0, taskwatch.model.end / 3); const t = performance.now(); for (let i = 0; i < 60; i++) { v.pan(7, 1); v.paint() } return (performance.now() - t) / 60 })()`)
	st, err := os.Stat(strings.TrimPrefix(url, "file://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d processes: %d bytes, first paint after %.0f ms, all shown after %.0f ms, %.1f ms for a frame", many, st.Size(), first, shown, frame)
	shot(t, ctx, "many")
}

// A file that was cut off is shown as far as it goes.
func TestCutFile(t *testing.T) {
	testutil.Long(t)
	r, end := begin(t)
	r.build(3000)
	name := strings.TrimPrefix(end(), "file://")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(text, []byte(`id="data">`))
	if at < 0 {
		t.Fatal("no data in the file")
	}
	if err := os.WriteFile(name, text[:at+(len(text)-at)*2/3], 0o666); err != nil {
		t.Fatal(err)
	}
	ctx := browse(t, 1000, 800)
	open(t, ctx, "file://"+name)
	n := eval[int](t, ctx, `taskwatch.model.processes`)
	if n < 500 || n > 2999 {
		t.Errorf("%d processes of a file that was cut at two thirds of 3001", n)
	}
	if text := eval[string](t, ctx, `document.querySelector('#warning').textContent`); !strings.Contains(text, "cut off") {
		t.Errorf("the page says %q", text)
	}
}
