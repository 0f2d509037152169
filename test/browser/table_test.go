package browser

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A click on the head of a column sorts by that column, and another one the other
// way round; so do keys, and the focus stays on the head.
func TestSort(t *testing.T) {
	testutil.Long(t)
	ctx := opened(t, 60, 1200, 900)
	head := func(name string) string {
		return fmt.Sprintf(`[...document.querySelectorAll('#table thead th')].find((h) => h.textContent.startsWith('%s'))`, name)
	}
	for _, c := range []struct {
		name, key string // of the column, and what of a slice i of a model m it sorts
		first     string
	}{
		{"start", "m.t0[i]", "ascending"},
		{"CPU", "m.cpu(i)", "descending"},
		{"max RSS", "m.rss[i]", "descending"},
		{"pid", "m.pid[i]", "ascending"},
		{"wall", "m.wall(i)", "descending"},
	} {
		check := func(way, want string) {
			t.Helper()
			if got := eval[string](t, ctx, head(c.name)+`.ariaSort ?? ''`); got != want {
				t.Errorf("%s, %s: the column says that it is %q, want %q", c.name, way, got, want)
			}
			values := column(t, ctx, c.key)
			sorted := slices.IsSortedFunc(values, cmp.Compare[float64])
			if want == "descending" {
				sorted = slices.IsSortedFunc(values, func(a, b float64) int { return cmp.Compare(b, a) })
			}
			if len(values) < 61 || !sorted {
				t.Errorf("%s, %s: not %s: %v", c.name, way, want, values)
			}
		}
		other := map[string]string{"ascending": "descending", "descending": "ascending"}[c.first]
		perform(t, ctx, head(c.name)+`.firstChild.id = 'head-under-test'`)
		do(t, ctx, chromedp.Click(chromedp.CSS("#head-under-test")))
		check("a click", c.first)
		do(t, ctx, chromedp.Click(chromedp.CSS("#head-under-test")))
		check("a second click", other)
		do(t, ctx, chromedp.Focus(chromedp.CSS("#head-under-test")), chromedp.KeyEvent(kb.Enter))
		check("Enter", c.first)
		do(t, ctx, chromedp.KeyEvent(" "))
		check("a space", other)
		perform(t, ctx, head(c.name)+`.firstChild.removeAttribute('id')`)
	}
	if n := eval[int](t, ctx, `document.querySelectorAll('#table th[aria-sort]').length`); n != 1 {
		t.Errorf("%d columns say that the table is sorted by them", n)
	}
	shot(t, ctx, "table")
}

// column returns numbers of the lines of the table, as it is sorted.
func column(t *testing.T, ctx context.Context, key string) []float64 {
	t.Helper()
	return eval[[]float64](t, ctx, fmt.Sprintf(`[...document.querySelectorAll('#table tbody tr')].map((r) => { const m = taskwatch.model, i = Number(r.dataset.slice); return %s })`, key))
}

// thread has a thread of a process live until end is called.
func (r *run) thread(pid, tid int) (end func()) {
	change := func(ev *taskwatch.Event) {
		ev.Task.ID.N, ev.Task.TID, ev.Task.Comm, ev.Exit.Group = uint64(tid), tid, fmt.Sprintf("worker%d", tid), false
	}
	r.event(taskwatch.Clone, pid, 0, change)
	return func() { r.event(taskwatch.Exit, pid, 0, change) }
}

// Threads are drawn on request, where and as long as they lived, and the details
// list them.
func TestThreads(t *testing.T) {
	testutil.Long(t)
	r, end := begin(t)
	r.exec(1, 0, "/usr/bin/server")
	r.now += 1e9
	var ends []func()
	for i := range 3 {
		ends = append(ends, r.thread(1, 100+i))
		r.now += 1e9
	}
	for _, end := range ends {
		r.now += 1e9
		end()
	}
	r.now += 1e9
	r.event(taskwatch.Exit, 1, 0, nil)
	ctx := browse(t, 1000, 800)
	open(t, ctx, end())
	// How many rows of pixels of the bar have the colour of the text, at each
	// half second.
	const lines = `(() => {
		const v = taskwatch.view;
		v.fit();
		v.paint();
		const found = [];
		for (let t = 5e5; t < v.model.end; t += 1e6) {
			const data = v.ctx.getImageData(Math.round(v.x(t)), v.y(0), 1, 17).data;
			let n = 0;
			for (let k = 0, was = false; k < data.length; k += 4) {
				const is = data[k] < 40 && data[k + 1] < 40 && data[k + 2] < 40;
				if (is && !was) n++;
				was = is;
			}
			found.push(n);
		}
		return found.slice(1); // in the first second there is the name
	})()`
	if got, want := eval[[]int](t, ctx, lines), []int{0, 0, 0, 0, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("without being asked, the page shows threads: %v", got)
	}
	do(t, ctx, chromedp.Click(chromedp.CSS("#threads")))
	if got, want := eval[[]int](t, ctx, lines), []int{1, 2, 3, 3, 2, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("threads at each second: %v, want %v", got, want)
	}
	perform(t, ctx, `taskwatch.select(0, false)`)
	await(t, ctx, `['100 worker100', '101 worker101', '102 worker102'].every((text) => document.querySelector('#details').textContent.includes(text))`)
	shot(t, ctx, "threads")
}
