package browser

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// live shows the page of a daemon, to which a line leads that can be cut.
func live(t *testing.T) (context.Context, *testutil.Line) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	file := program(t)
	start(t, file, "serving", "serve", "--socket", socket)
	line := testutil.NewLine(t, socket)
	ctx := browse(t, 1200, 900)
	open(t, ctx, start(t, file, "", "ui", "--socket", line.Path))
	await(t, ctx, `document.querySelector('#state').textContent === 'live'`)
	return ctx, line
}

// When the stream of a live page is cut, the page says so and stays. Then it goes
// on where it was, and marks the place where something is missing, if the daemon
// had no longer all of it.
func TestUICut(t *testing.T) {
	testutil.Long(t)
	testutil.Root(t)
	ctx, line := live(t)
	happens := func(name string) {
		t.Helper()
		if err := exec.Command("/bin/true", name).Run(); err != nil {
			t.Fatal(err)
		}
	}
	const seen = `taskwatch.model.first.some((text) => text.includes('%s'))`
	sees := func(name string) string { return strings.ReplaceAll(seen, "%s", name) }
	happens("before-the-cut")
	await(t, ctx, sees("before-the-cut"))

	line.SetDown(true)
	await(t, ctx, `document.querySelector('#state').textContent.includes('has ended the stream')`)
	if !eval[bool](t, ctx, sees("before-the-cut")) {
		t.Error("what was shown is gone")
	}
	shot(t, ctx, "ui-cut")
	happens("during-the-cut")
	line.SetDown(false)
	await(t, ctx, sees("during-the-cut")+` && document.querySelector('#state').textContent === 'live'`)
	if text := eval[string](t, ctx, `document.querySelector('#warning').hidden ? '' : document.querySelector('#warning').textContent`); text != "" {
		t.Errorf("nothing was lost, and the page says %q", text)
	}
	if !eval[bool](t, ctx, sees("before-the-cut")) {
		t.Error("the page has begun anew")
	}

	// More than the 16 MiB that the daemon keeps.
	line.SetDown(true)
	await(t, ctx, `document.querySelector('#state').textContent.includes('has ended the stream')`)
	for range 200 {
		happens(strings.Repeat("x", 120<<10))
	}
	line.SetDown(false)
	happens("after-the-cut")
	await(t, ctx, sees("after-the-cut")+` && !document.querySelector('#warning').hidden`)
	if text := eval[string](t, ctx, `document.querySelector('#warning').textContent`); !strings.HasPrefix(text, "Events were lost (") {
		t.Errorf("the page says %q", text)
	}
	// The line goes through all of the timeline, below its strips as well.
	red := eval[[]string](t, ctx, `(() => {
		const v = taskwatch.view;
		v.fit();
		v.paint();
		const x = Math.round(v.x(v.model.losses[0].t));
		return [60, v.height - 40, v.height - 3].map((y) => '#' + [...v.ctx.getImageData(x, y, 1, 1).data].slice(0, 3).map((n) => n.toString(16).padStart(2, '0')).join('')).concat(v.colours.bad);
	})()`)
	for _, at := range red[:3] {
		if at != red[3] {
			t.Errorf("where events are missing the timeline is %q, want %s", red[:3], red[3])
			break
		}
	}
	if !eval[bool](t, ctx, sees("before-the-cut")) {
		t.Error("the page has begun anew")
	}
	shot(t, ctx, "ui-lost")
}
