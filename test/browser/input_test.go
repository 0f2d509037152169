package browser

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

// opened shows a made build of so many compilers.
func opened(t *testing.T, compilers, width, height int) context.Context {
	t.Helper()
	r, end := begin(t)
	r.build(compilers)
	ctx := browse(t, width, height)
	open(t, ctx, end())
	return ctx
}

// pid returns the selected process, or -1.
func pid(t *testing.T, ctx context.Context) int {
	t.Helper()
	return eval[int](t, ctx, `taskwatch.model.pid[taskwatch.view.selected] ?? -1`)
}

// span returns which part of the run is shown, in microseconds.
func span(t *testing.T, ctx context.Context) (from, to float64) {
	t.Helper()
	s := eval[[]float64](t, ctx, `[taskwatch.view.from, taskwatch.view.to]`)
	return s[0], s[1]
}

// canvas scrolls the timeline into sight, shows a third of the run, and returns
// where the canvas is in the window.
func canvas(t *testing.T, ctx context.Context) (left, top float64) {
	t.Helper()
	at := eval[[]float64](t, ctx, `(() => {
		const v = taskwatch.view;
		v.canvas.scrollIntoView({block: 'end'});
		v.show(v.model.end / 3, v.model.end * 2 / 3);
		const at = v.canvas.getBoundingClientRect();
		return [at.left, at.top];
	})()`)
	return at[0], at[1]
}

// A drag moves the timeline as far as the mouse, up and down too, and selects
// nothing; a click selects what is under it, and a double click zooms to that.
func TestMouse(t *testing.T) {
	testutil.Long(t)
	ctx := opened(t, 200, 1000, 800)
	left, top := canvas(t, ctx)
	from, to := span(t, ctx)
	width := eval[float64](t, ctx, `taskwatch.view.width`)
	const x, y, dx = 500, 250, 120
	do(t, ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMousePressed, left+x, top+y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	for i := 1; i <= 10; i++ {
		do(t, ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, left+x-dx*float64(i)/10, top+y, chromedp.ButtonLeft))
	}
	do(t, ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseReleased, left+x-dx, top+y, chromedp.ButtonLeft))
	moved, _ := span(t, ctx)
	if want := from + dx*(to-from)/width; math.Abs(moved-want) > (to-from)/100 {
		t.Errorf("a drag by %d of %v pixels moves the beginning from %v to %v, want %v", dx, width, from, moved, want)
	}
	if n := pid(t, ctx); n != -1 {
		t.Errorf("the drag has selected process %d", n)
	}

	// The one that took longest is large enough to be hit.
	const slowest = 201
	at := middle(t, ctx, slowest)
	do(t, ctx, chromedp.MouseClickXY(left+at[0], top+at[1]))
	await(t, ctx, `!document.querySelector('#details').hidden`)
	if n := pid(t, ctx); n != slowest {
		t.Errorf("a click selects %d, want %d", n, slowest)
	}
	at = middle(t, ctx, 100)
	from, to = span(t, ctx)
	do(t, ctx, chromedp.MouseClickXY(left+at[0], top+at[1]), chromedp.MouseClickXY(left+at[0], top+at[1], chromedp.ClickCount(2)))
	await(t, ctx, fmt.Sprintf(`taskwatch.view.to - taskwatch.view.from < %v`, (to-from)/2))
	if n := pid(t, ctx); n != 100 {
		t.Errorf("a double click selects %d, want 100", n)
	}
}

// middle brings a process into sight, with some of what was before and after, and
// returns its middle on the canvas.
func middle(t *testing.T, ctx context.Context, pid int) []float64 {
	t.Helper()
	return eval[[]float64](t, ctx, fmt.Sprintf(`(() => {
		const v = taskwatch.view, m = v.model, i = m.pid.lastIndexOf(%d);
		v.measure();
		v.show(m.t0[i] - 3 * m.wall(i), m.t1[i] + 3 * m.wall(i));
		v.reveal(i);
		return [v.x((m.t0[i] + m.t1[i]) / 2), v.y(i) + 8];
	})()`, pid))
}

// touch sends one event of the fingers that are down.
func touch(t *testing.T, ctx context.Context, kind input.DispatchTouchEventType, fingers ...[2]float64) {
	t.Helper()
	points := []*input.TouchPoint{}
	for i, f := range fingers {
		id := float64(i)
		points = append(points, &input.TouchPoint{X: f[0], Y: f[1], ID: &id})
	}
	if _, err := chromedp.Call(ctx, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: kind, TouchPoints: points}); err != nil {
		t.Fatal(err)
	}
}

// On a telephone one finger moves the timeline, two zoom it, in whatever
// direction they go apart, and a tap selects.
func TestTouch(t *testing.T) {
	testutil.Long(t)
	ctx := opened(t, 200, 400, 800)
	do(t, ctx, chromedp.EmulateViewport(400, 800, chromedp.EmulateMobile, chromedp.EmulateTouch))
	left, top := canvas(t, ctx)
	from, to := span(t, ctx)
	width := eval[float64](t, ctx, `taskwatch.view.width`)
	const begin, move, end = input.DispatchTouchEventTypeTouchStart, input.DispatchTouchEventTypeTouchMove, input.DispatchTouchEventTypeTouchEnd
	y := top + 200
	touch(t, ctx, begin, [2]float64{left + 300, y})
	for x := 290.0; x >= 200; x -= 10 {
		touch(t, ctx, move, [2]float64{left + x, y})
	}
	touch(t, ctx, end)
	moved, end1 := span(t, ctx)
	// A browser may keep the first pixels, to know that it is no tap.
	if least, most := from+80*(to-from)/width, from+101*(to-from)/width; moved < least || moved > most {
		t.Errorf("a finger that goes 100 of %v pixels moves the beginning from %v to %v, want %v to %v", width, from, moved, least, most)
	}
	if n := pid(t, ctx); n != -1 {
		t.Errorf("the finger has selected process %d", n)
	}
	for _, c := range []struct {
		how    string
		dx, dy float64
	}{{"beside each other", 10, 0}, {"one above the other", 0, 10}} {
		before := end1 - moved
		first := [2]float64{left + 150, y}
		second := [2]float64{first[0] + 4*c.dx, first[1] + 4*c.dy}
		touch(t, ctx, begin, first)
		touch(t, ctx, begin, first, second)
		for range 6 {
			second[0] += c.dx
			second[1] += c.dy
			touch(t, ctx, move, first, second)
		}
		touch(t, ctx, end)
		moved, end1 = span(t, ctx)
		if by := (end1 - moved) / before; by < 0.35 || by > 0.6 {
			t.Errorf("two fingers %s that go from 40 to 100 pixels apart show %.2f of what was there, want 0.4", c.how, by)
		}
	}
	at := middle(t, ctx, 201)
	do(t, ctx, chromedp.TapXY(left+at[0], top+at[1]))
	await(t, ctx, `!document.querySelector('#details').hidden`)
	if n := pid(t, ctx); n != 201 {
		t.Errorf("a tap selects %d, want 201", n)
	}
	wide(t, ctx)
	shot(t, ctx, "touch")
}

// allow sets a permission of pages.
func allow(t *testing.T, ctx context.Context, name string, setting browser.PermissionSetting) {
	t.Helper()
	p := browser.SetPermissionParams{Permission: &browser.PermissionDescriptor{Name: name}, Setting: setting}
	if _, err := chromedp.CallBrowser(ctx, browser.SetPermission, p); err != nil {
		t.Fatal(err)
	}
}

// All that is asked of a timeline can be done by keys: search, relatives,
// details, zoom, threads, the help, the clipboard.
func TestKeys(t *testing.T) {
	testutil.Long(t)
	ctx := opened(t, 200, 1200, 900)
	keys := func(k string) {
		t.Helper()
		do(t, ctx, chromedp.KeyEvent(k))
	}
	want := func(n int, after string) {
		t.Helper()
		if got := pid(t, ctx); got != n {
			t.Errorf("after %s, process %d is selected, want %d", after, got, n)
		}
	}
	do(t, ctx, chromedp.Focus(chromedp.CSS("#search")))
	keys("file1.c file1" + kb.Enter) // each word is to be there
	await(t, ctx, `document.querySelector('#found').textContent.startsWith('1 of')`)
	want(3, "a search")
	keys(kb.Escape) // the search ends, and the keys are the timeline's
	if got := eval[string](t, ctx, `document.activeElement.id + document.querySelector('#search').value`); got != "canvas" {
		t.Errorf("after Escape the focus and the search are %q", got)
	}
	keys("p")
	want(1, "p")
	keys("c")
	want(2, "c")
	keys("]]")
	want(4, "]]")
	keys("[")
	want(3, "[")
	keys("c") // it has none
	want(3, "c where there is no child")
	do(t, ctx, chromedp.Focus(chromedp.CSS("#search")))
	keys("cc3" + kb.Tab)
	await(t, ctx, `taskwatch.found.length === 17`)
	do(t, ctx, chromedp.Focus(chromedp.CSS("#canvas")))
	keys(kb.Escape + "n")
	want(5, "n")
	keys("n")
	want(17, "nn")
	keys("N")
	want(5, "nnN")

	from, to := span(t, ctx)
	keys("z")
	await(t, ctx, fmt.Sprintf(`taskwatch.view.to - taskwatch.view.from < %v`, (to-from)/2))
	from, to = span(t, ctx)
	keys(kb.ArrowRight)
	if right, _ := span(t, ctx); right <= from {
		t.Errorf("an arrow moves the beginning from %v to %v", from, right)
	}
	keys("-")
	if a, b := span(t, ctx); b-a <= to-from {
		t.Errorf("minus shows %v of %v", b-a, to-from)
	}
	keys("0")
	if a, b := span(t, ctx); a > 0 || b < eval[float64](t, ctx, `taskwatch.model.end`) {
		t.Errorf("0 shows %v to %v", a, b)
	}
	keys("t")
	if !eval[bool](t, ctx, `taskwatch.view.showThreads && document.querySelector('#threads').ariaPressed === 'true'`) {
		t.Error("t shows no threads")
	}
	keys("?")
	await(t, ctx, `document.querySelector('#help').open`)
	shot(t, ctx, "help")
	keys(kb.Escape)
	await(t, ctx, `!document.querySelector('#help').open`)
	keys(kb.Escape)
	want(-1, "Escape")
}

// The clipboard gets the command line for a shell, by its interface or, where
// that is forbidden, as a selection; the focus stays.
func TestCopy(t *testing.T) {
	testutil.Long(t)
	r, end := begin(t)
	r.exec(1, 0, "/bin/sh", "-c", "it's; \x1b[201~\nrm", "a b", "", "\xff\u061c7\U000e0041", "\uef80", "世界 é")
	const text = `/bin/sh -c $'it\'s; \u001b[201~\nrm' 'a b' '' $'\377\u061c7\U000e0041' $'\356\276\200' '世界 é'`
	ctx := browse(t, 1000, 800)
	open(t, ctx, end())
	allow(t, ctx, "clipboard-read", browser.PermissionSettingGranted)
	read := func() string {
		t.Helper()
		s, err := chromedp.Run(ctx, chromedp.Evaluate[string](`navigator.clipboard.readText()`, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, setting := range []browser.PermissionSetting{browser.PermissionSettingGranted, browser.PermissionSettingDenied} {
		allow(t, ctx, "clipboard-write", setting)
		perform(t, ctx, `taskwatch.select(-1)`)
		perform(t, ctx, `taskwatch.select(0, false)`)
		do(t, ctx, chromedp.Focus(chromedp.CSS("#canvas")), chromedp.KeyEvent("y"))
		await(t, ctx, `document.querySelector('#copy').textContent === 'copied'`)
		if got := read(); got != text {
			t.Errorf("with a clipboard that is %s, it has %q, want %q", setting, got, text)
		}
		if id := eval[string](t, ctx, `document.activeElement.id`); id != "canvas" {
			t.Errorf("with a clipboard that is %s, the focus goes to %q", setting, id)
		}
		// By a click, too.
		perform(t, ctx, `taskwatch.select(0, false)`)
		do(t, ctx, chromedp.Click(chromedp.CSS("#copy")))
		await(t, ctx, `document.querySelector('#copy').textContent === 'copied'`)
	}
}

// A search looks into what commands have, not into how the page keeps it, and a
// program is found by its path, whatever that has.
func TestSearch(t *testing.T) {
	testutil.Long(t)
	r, end := begin(t)
	r.build(10)
	for i, program := range []string{"/opt/my app/run \"it\"", "/opt/two\nlines", `/opt/back\slash`, "/usr/bin/git"} {
		r.exec(100+i, 1, program, "status", "Upper")
		r.event(taskwatch.Exit, 100+i, 1, func(ev *taskwatch.Event) { ev.Rusage.UTimeNS = 1e9 })
	}
	ctx := browse(t, 1200, 900)
	open(t, ctx, end())
	found := func(search string) []int {
		t.Helper()
		perform(t, ctx, fmt.Sprintf(`document.querySelector('#search').value = %q; taskwatch.find()`, search))
		return eval[[]int](t, ctx, `taskwatch.found.map((i) => taskwatch.model.pid[i])`)
	}
	for search, want := range map[string]int{
		"status": 4, "upper git": 1, "argv": 0, "cwd": 0, "uid": 0, "/src": 15, "sigterm": 0, "103": 1, `program:"/opt/\q"`: 0, "program:/usr/bin/git": 1,
	} {
		if got := found(search); len(got) != want {
			t.Errorf("%s finds %v, want %d", search, got, want)
		}
	}
	// By a click, too.
	n := eval[int](t, ctx, `document.querySelectorAll('#dear tbody tr').length`)
	for i := range min(n, 4) {
		perform(t, ctx, fmt.Sprintf(`document.querySelectorAll('#dear tbody tr')[%d].click()`, i))
		if got := eval[[]int](t, ctx, `taskwatch.found.map((i) => taskwatch.model.pid[i])`); len(got) != 1 || got[0] < 100 {
			t.Errorf("a click on the program in line %d finds %v", i, got)
		}
	}
}

// A bar has the name of the program and of the files that it is about, in front of
// what is alike in all command lines of a build.
func TestShortNames(t *testing.T) {
	testutil.Long(t)
	r, end := begin(t)
	commands := map[string]string{
		"gcc ash.o ash.c": "/usr/bin/gcc -Wp,-MD,shell/.ash.o.d -Iinclude -include include/autoconf.h -c -o shell/ash.o shell/ash.c",
		"cc1 ash.c":       "/usr/lib/gcc/cc1 -quiet -imultiarch x86_64-linux-gnu -MD shell/.ash.o.d -include include/autoconf.h shell/ash.c -o /tmp/ccX.s",
		"make":            "/usr/bin/make -j8",
	}
	pid := 0
	for _, c := range commands {
		pid++
		r.exec(pid, 0, strings.Fields(c)...)
	}
	ctx := browse(t, 1200, 900)
	open(t, ctx, end())
	for want, c := range commands {
		if got := eval[string](t, ctx, fmt.Sprintf(`taskwatch.model.short(taskwatch.model.first.findIndex((_, i) => taskwatch.model.command(i) === %q))`, c)); got != want {
			t.Errorf("%s is shown as %q, want %q", c, got, want)
		}
	}
}

// Processes may be nested deeper than a page can call.
func TestDeep(t *testing.T) {
	testutil.Long(t)
	const deep = 20_000
	r, end := begin(t)
	r.exec(1, 0, "/bin/sh")
	for pid := 2; pid <= deep; pid++ {
		r.event(taskwatch.Clone, pid, pid-1, nil)
	}
	ctx := browse(t, 1200, 900)
	open(t, ctx, end())
	if n := eval[int](t, ctx, `taskwatch.model.rows.length`); n != deep {
		t.Errorf("%d rows, want %d", n, deep)
	}
	perform(t, ctx, fmt.Sprintf(`taskwatch.select(taskwatch.model.pid.indexOf(%d), true)`, deep))
	await(t, ctx, `taskwatch.view.top > 0`)
}

// A timeline that is written with an expression begins with what that chooses.
func TestChosen(t *testing.T) {
	testutil.Long(t)
	r := newRecording(t)
	r.build(20)
	if _, err := r.file.Write(record.AppendEnd(nil)); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "chosen.html")
	const where = `exit.code != 0 || exe.endsWith("/cc3")`
	if out, err := exec.CommandContext(t.Context(), program(t), "replay", "--where", where, "-o", page, r.name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx := browse(t, 1200, 900)
	open(t, ctx, "file://"+page)
	if n := eval[int](t, ctx, `taskwatch.model.processes`); n != 21 {
		t.Errorf("%d processes, want all 21", n)
	}
	pids := eval[[]int](t, ctx, `taskwatch.found.map((i) => taskwatch.model.pid[i])`)
	slices.Sort(pids)
	if want := []int{5, 17, 21}; !slices.Equal(slices.Compact(pids), want) {
		t.Errorf("%v are chosen, want %v", pids, want)
	}
	if text := eval[string](t, ctx, `document.querySelector('#totals').textContent`); !strings.Contains(text, where) {
		t.Errorf("the page does not say what is chosen: %s", text)
	}
	shot(t, ctx, "chosen")
}
