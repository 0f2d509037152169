package browser

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// BenchmarkTimeline measures the page of a file, in a new browser each time: when
// something is painted first, when everything is shown, and how smoothly it moves
// where a third of the run fills the screen: frames in a second, of the 60 that
// the browser draws at most, and the longest time between two of them.
func BenchmarkTimeline(b *testing.B) {
	for _, processes := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("processes=%d", processes), func(b *testing.B) {
			r, end := begin(b)
			r.build(processes - 1)
			url := end()
			st, err := os.Stat(strings.TrimPrefix(url, "file://"))
			if err != nil {
				b.Fatal(err)
			}
			var first, shown, rate, longest float64
			for b.Loop() {
				ctx := browse(b, 1400, 1000)
				open(b, ctx, url)
				first += eval[float64](b, ctx, `performance.getEntriesByName('first-contentful-paint')[0].startTime`)
				shown += eval[float64](b, ctx, `taskwatch.shownAt`)
				perform(b, ctx, panned)
				await(b, ctx, `window.times.length > 120`)
				rate += eval[float64](b, ctx, `120e3 / (times[120] - times[0])`)
				longest = max(longest, eval[float64](b, ctx, `Math.max(...times.slice(1, 121).map((t, i) => t - times[i]))`))
			}
			n := float64(b.N)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(st.Size())/(1<<20), "MiB")
			b.ReportMetric(first/n, "ms-first-paint")
			b.ReportMetric(shown/n, "ms-all-shown")
			b.ReportMetric(rate/n, "frames/s")
			b.ReportMetric(longest, "ms-longest-frame")
		})
	}
}

// panned moves the timeline in each frame that the browser draws, and notes when
// that was.
const panned = `
	const v = taskwatch.view;
	v.show(0, taskwatch.model.end / 3);
	window.times = [];
	const step = (t) => {
		times.push(t);
		v.pan(times.length % 40 < 20 ? 9 : -5, 1);
		if (times.length <= 120) requestAnimationFrame(step);
	};
	requestAnimationFrame(step)`
