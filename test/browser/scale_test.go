package browser

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// painted is what the head of the timeline shows of a part of a run, as a list: the
// axis, from left to right, and the strips.
const painted = `(() => {
	const v = taskwatch.view;
	const axis = [], strips = [];
	const fill = v.ctx.fillText;
	v.ctx.fillText = (text, x, y) => y < v.head && (y === 11 ? axis : strips).push(text);
	v.show(%f, %f);
	v.paint();
	v.ctx.fillText = fill;
	return [axis, strips];
})()`

// The axis has round numbers of seconds, minutes and hours, which differ however
// small a part of however long a run is shown, and none from before its beginning.
func TestAxis(t *testing.T) {
	testutil.Long(t)
	r, end := begin(t)
	r.exec(1, 0, "/usr/bin/make")
	for pid := 2; pid < 5; pid++ {
		r.exec(pid, 1, "/usr/bin/cc")
	}
	for pid := 2; pid < 5; pid++ {
		r.event(taskwatch.Exit, pid, 1, nil)
	}
	r.now += 5 * 3600e9
	r.event(taskwatch.Exit, 1, 0, nil)
	ctx := browse(t, 1200, 900)
	open(t, ctx, end())
	// What is shorter than a pixel counts as well.
	strips := []string{"CPU: less than 0.1 busy", "at work: up to 3 processes", "memory: up to 4.0 MiB"}
	if got := eval[[][]string](t, ctx, fmt.Sprintf(painted, 0.0, 18000e6))[1]; !slices.Equal(got, strips) {
		t.Errorf("the strips say %q, want %q", got, strips)
	}
	const second, hour = 1e6, 3600e6
	for _, c := range []struct {
		from, to float64
		has      string
	}{
		{0, 5 * hour, "0 | 30:00 min | 1:00:00 h | 1:30:00 h"},
		{0, 100 * second, "0 | 10 s | 20 s | 30 s | 40 s | 50 s | 1:00 min | 1:10 min"},
		{-600 * second, 2 * hour, "0 | 15:00 min | 30:00 min"},
		{2*hour - 1, 2*hour + 9, "2:00:00.000000 h | 2:00:00.000001 h"},
		{30 * second, 30*second + 10e3, "30.000 s | 30.001 s"},
		{59.5 * second, 60.5 * second, "59.9 s | 1:00.0 min | 1:00.1 min"},
	} {
		got := eval[[][]string](t, ctx, fmt.Sprintf(painted, c.from, c.to))[0]
		if text := strings.Join(got, " | "); !strings.Contains(text, c.has) {
			t.Errorf("%v to %v: the axis has %s, want %s", c.from, c.to, text, c.has)
		}
		once := slices.Compact(slices.Sorted(slices.Values(got)))
		if len(once) != len(got) || len(got) < 3 || slices.Contains(got, "–") {
			t.Errorf("%v to %v: the axis has %q", c.from, c.to, got)
		}
	}
	shot(t, ctx, "axis")
}

// One process may have any number of programs, threads and records: the details
// show some, the timeline draws what can be seen of all, and neither takes long.
func TestMuchOfOneProcess(t *testing.T) {
	testutil.Long(t)
	const many = 20_000
	r, end := begin(t)
	r.exec(1, 0, "/bin/sh")
	for i := range many {
		r.exec(2, 1, "/bin/sh", fmt.Sprint(i))
	}
	r.exec(3, 1, "/bin/server")
	for i := range many {
		r.thread(3, 100+i)()
	}
	r.exec(4, 1, "/bin/talker")
	task := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 4}, PID: 4, TID: 4}
	for i := range many {
		r.now += 50_000
		r.sink.Take(taskwatch.Item{Record: &taskwatch.Record{Module: "talk", Data: fmt.Append(nil, i), MonoNS: r.now, Task: task}})
	}
	for pid := 4; pid > 0; pid-- {
		r.event(taskwatch.Exit, pid, 1, nil)
	}
	ctx := browse(t, 1200, 900)
	open(t, ctx, end())
	// How many pixels of a row of the bar of a process have the colour of the text,
	// in a tenth of its life.
	const marks = `(() => {
		const v = taskwatch.view, m = v.model, i = m.pid.indexOf(%d);
		v.show(m.t0[i], m.t1[i]);
		v.paint();
		const data = v.ctx.getImageData(v.width * %f, v.y(i) + %d, v.width * 0.1, 1).data;
		let n = 0;
		for (let k = 0; k < data.length; k += 4) if (data[k] < 60 && data[k + 1] < 60 && data[k + 2] < 60) n++;
		return n;
	})()`
	perform(t, ctx, `taskwatch.threads()`)
	for _, c := range []struct {
		pid, row int
		from     float64
	}{{3, 14, 0.01}, {3, 14, 0.55}, {4, 5, 0.01}, {4, 5, 0.89}} { // the threads take two thirds of the life of 3
		if n := eval[int](t, ctx, fmt.Sprintf(marks, c.pid, c.from, c.row)); n < 50 {
			t.Errorf("the tenth at %.2f of process %d has %d dark pixels: not all of its threads or records are drawn", c.from, c.pid, n)
		}
	}
	for pid, want := range map[int]string{2: fmt.Sprintf("200 of %d are shown", many), 3: "200 of 20000 are shown", 4: "200 of 20000 are shown"} {
		perform(t, ctx, fmt.Sprintf(`taskwatch.select(taskwatch.model.pid.lastIndexOf(%d), false)`, pid))
		if text := eval[string](t, ctx, `document.querySelector('#details').textContent`); !strings.Contains(text, want) {
			t.Errorf("the details of process %d have %d characters without %q", pid, len(text), want)
		}
		if n := eval[int](t, ctx, `document.querySelectorAll('#details *').length`); n > 1000 {
			t.Errorf("the details of process %d have %d elements", pid, n)
		}
		if pid == 2 && !eval[bool](t, ctx, `document.querySelector('#details .row button:disabled') !== null`) {
			t.Error("the selected program is not among those that are shown")
		}
	}
	shot(t, ctx, "much")
}

// What is said of a bar below the mouse is in the window, also at its edges.
func TestTip(t *testing.T) {
	testutil.Long(t)
	r, end := begin(t)
	r.exec(1, 0, "/usr/bin/cc", strings.Repeat("long ", 100))
	r.build(100)
	r.event(taskwatch.Exit, 1, 0, nil)
	ctx := browse(t, 1000, 700)
	open(t, ctx, end())
	// The bar of cc is the first one. It is shown at the top of the window, and at its
	// bottom.
	for _, bottom := range []bool{false, true} {
		for _, x := range []float64{5, 500, 995} {
			at := eval[[]float64](t, ctx, fmt.Sprintf(`(() => {
				const v = taskwatch.view, box = v.canvas.getBoundingClientRect();
				v.fit();
				scrollBy(0, box.top + v.y(0) + 9 - (%v ? innerHeight - 5 : 60));
				return [box.left + %v, v.canvas.getBoundingClientRect().top + v.y(0) + 9];
			})()`, bottom, x))
			do(t, ctx, chromedp.MouseEvent("mouseMoved", at[0], at[1]))
			box := eval[[]float64](t, ctx, `(() => { const b = document.querySelector('#tip').getBoundingClientRect(); return [b.left, b.top, innerWidth - b.right, innerHeight - b.bottom, b.width] })()`)
			if box[4] == 0 {
				t.Errorf("at %v there is no tip", at)
			} else if slices.Min(box) < 0 {
				t.Errorf("at %v the tip is %v from the edges of the window", at, box[:4])
			}
		}
	}
	shot(t, ctx, "tip")
}
