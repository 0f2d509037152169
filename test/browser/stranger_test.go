package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// slowSource takes a compiler long: macros make thousands of statements
// of it.
const slowSource = `#define A(x) x x x x x x x x
unsigned slow(unsigned s) { A(A(A(A(s = (s ^ 3) * 5 + (s >> 7);)))) return s; }
`

// A stranger who is shown the timeline of a build finds the slowest step in ten
// seconds: its name stands in the first view, said to be the slowest, and marked in
// the table and in the timeline, on a small laptop; and said on a telephone.
func TestSlowestStepIsInTheFirstView(t *testing.T) {
	testutil.Long(t)
	testutil.Require(t, testutil.NeedsTool("make"), testutil.NeedsTool("gcc"))
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	objects := "table.o main.o"
	for i := range 10 {
		objects += fmt.Sprintf(" part%d.o", i)
		write(fmt.Sprintf("part%d.c", i), fmt.Sprintf("int part%d(int x) { return x + %d; }\n", i, i))
	}
	write("table.c", slowSource)
	write("main.c", "unsigned slow(unsigned);\nint main(void) { return slow(1) & 1; }\n")
	write("Makefile", "CC = gcc\nCFLAGS = -O1\nprog: "+objects+"\n\t$(CC) -o $@ $^\n")
	build := exec.Command(program(t), "run", "-o", "build.html", "--", "make", "-j2")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx := browse(t, 1280, 800)
	for _, width := range []int64{1280, 400} {
		do(t, ctx, chromedp.EmulateViewport(width, 800))
		open(t, ctx, "file://"+filepath.Join(dir, "build.html"))
		shot(t, ctx, fmt.Sprintf("stranger-%d", width))
		// What is painted there, and not below the edge of the screen or below
		// something else.
		seen := func(selector string) string {
			t.Helper()
			return eval[string](t, ctx, fmt.Sprintf(`(() => {
				const e = document.querySelector(%q);
				const at = e.getBoundingClientRect();
				const on = (x, y) => e.contains(document.elementFromPoint(x, y));
				return scrollY === 0 && at.bottom <= innerHeight && on(at.left + 3, at.top + at.height / 2) && on((at.left + at.right) / 2, at.top + 3) ? e.textContent : '';
			})()`, selector))
		}
		if text := seen("#slowest"); !strings.Contains(text, "slowest step") || !strings.Contains(text, "table.c") || !strings.Contains(text, " s of ") {
			t.Errorf("%d pixels wide, the first view says %q", width, text)
		}
		if text := seen("#path tr.longest"); !strings.Contains(text, "table.c") {
			t.Errorf("%d pixels wide, the line of the table that is marked is %q", width, text)
		}
		if !eval[bool](t, ctx, `getComputedStyle(document.querySelector('#path tr.longest')).backgroundColor !== getComputedStyle(document.querySelector('#path tbody tr:not(.longest)')).backgroundColor`) {
			t.Errorf("%d pixels wide, no line of the table is marked", width)
		}
	}
	// A click leads to it.
	do(t, ctx, chromedp.EmulateViewport(1280, 800), chromedp.Click(chromedp.CSS("#slowest button")))
	await(t, ctx, `!document.querySelector('#details').hidden && document.querySelector('#details').textContent.includes('table.c')`)
	shot(t, ctx, "stranger-details")
}
