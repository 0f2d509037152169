package browser

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// pale returns what can hardly be read: texts with less contrast than WCAG 2.1
// AA asks for (4.5), on the page and on the bars of the timeline.
const pale = `(() => {
	const dot = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
	const rgba = (css) => {
		dot.clearRect(0, 0, 1, 1);
		dot.fillStyle = css;
		dot.fillRect(0, 0, 1, 1);
		const [r, g, b, a] = dot.getImageData(0, 0, 1, 1).data;
		return [r, g, b, a / 255];
	};
	const over = (top, below) => [0, 1, 2].map((k) => top[k] * top[3] + below[k] * (1 - top[3]));
	const light = (c) => {
		const [r, g, b] = c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
	const behind = (e) => {
		if (!e) return [255, 255, 255];
		const own = rgba(getComputedStyle(e).backgroundColor);
		return own[3] === 1 ? own.slice(0, 3) : over(own, behind(e.parentElement));
	};
	const bad = [];
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	let texts = 0;
	for (let n = walk.nextNode(); n; n = walk.nextNode()) {
		const e = n.parentElement;
		if (!n.data.trim() || !e.checkVisibility() || e.closest('[disabled], script, option')) continue;
		texts++;
		const below = behind(e);
		const c = contrast(over(rgba(getComputedStyle(e).color), below), below);
		if (c < 4.5) bad.push(n.data.trim().slice(0, 40) + ': ' + c.toFixed(1));
	}
	const v = taskwatch.view;
	v.model.names.forEach((name, k) => {
		const c = contrast(rgba(v.colours.fg), rgba(v.fill(k)));
		if (c < 4.5) bad.push('the bar of ' + name + ': ' + c.toFixed(1));
	});
	if (texts < 20) bad.push('only ' + texts + ' texts are there');
	return bad;
})()`

// prefers has the browser say that its user likes a theme.
func prefers(t *testing.T, ctx context.Context, theme string) {
	t.Helper()
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		t.Fatal(err)
	}
}

// The page opens light or dark, as the browser's user likes it, and fits a narrow
// screen; all of it can be read, whatever colours programs have.
func TestThemes(t *testing.T) {
	testutil.Long(t)
	r, end := begin(t)
	for _, program := range strings.Fields("gcc g++ clang cc1 cc1plus as ld ar rustc go sh bash dash python3 perl sed awk grep cmake ninja node java cargo install mv cp") {
		r.exec(1, 0, "/usr/bin/"+program)
	}
	r.build(300)
	url := end()
	ctx := browse(t, 1200, 900)
	for _, theme := range []string{"light", "dark"} {
		prefers(t, ctx, theme)
		for _, width := range []int64{1200, 400} {
			do(t, ctx, chromedp.EmulateViewport(width, 900))
			open(t, ctx, url)
			if got := eval[string](t, ctx, `document.documentElement.dataset.theme`); got != theme {
				t.Errorf("a browser that likes %s gets the theme %s", theme, got)
			}
			name := map[int64]string{1200: theme, 400: theme + "-narrow"}[width]
			shot(t, ctx, "theme-"+name)
			perform(t, ctx, `taskwatch.select(taskwatch.model.pid.lastIndexOf(301), false); document.querySelector('#tools').scrollIntoView()`)
			if bad := eval[[]string](t, ctx, pale); len(bad) > 0 {
				t.Errorf("%s, %d pixels wide: too pale: %q", theme, width, bad)
			}
			wide(t, ctx)
			shot(t, ctx, "theme-"+name+"-details")
		}
	}
	// The button changes it.
	do(t, ctx, chromedp.Click(chromedp.CSS("#theme")))
	if got := eval[string](t, ctx, `document.documentElement.dataset.theme`); got != "light" {
		t.Errorf("in the dark, the button leads to %s", got)
	}
}

// What is printed has what is on the screen: the answer, the timeline, made for
// paper (its texts are texts there, too) and light whatever the screen is, and the
// table.
func TestPrint(t *testing.T) {
	testutil.Long(t)
	testutil.Require(t, testutil.NeedsTool("pdftotext"))
	ctx := opened(t, 60, 1200, 900)
	perform(t, ctx, `taskwatch.theme('dark')`)
	pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF(chromedp.PDFPrintBackground()))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "page.pdf")
	if err := os.WriteFile(file, pdf, 0o666); err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("TASKWATCH_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "print.pdf"), pdf, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	text, err := exec.Command("pdftotext", "-layout", file, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/usr/bin/make -j8", "slowest step", "Critical path", "Most expensive programs", "file59.c", "at work: up to 8 processes", "300 ms", "Processes", "exit 2"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the paper lacks %q; it has\n%s", want, text)
		}
	}
	for _, not := range []string{"show more", "copy command", "threads"} {
		if bytes.Contains(text, []byte(not)) {
			t.Errorf("the paper has %q, which nobody can press", not)
		}
	}
	if got := eval[string](t, ctx, `document.documentElement.dataset.theme`); got != "dark" {
		t.Errorf("after that the screen is %s", got)
	}
}
