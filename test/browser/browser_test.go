// Package browser has a real browser show what taskwatch makes.
package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

const chromium = "chromium"

// browse starts a browser with a window of that size.
func browse(t testing.TB, width, height int) context.Context {
	t.Helper()
	testutil.Require(t, testutil.NeedsTool(chromium))
	path, err := exec.LookPath(chromium)
	if err != nil {
		t.Fatal(err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.WindowSize(width, height), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
	})
	return ctx
}

func do(t testing.TB, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// eval evaluates an expression in the page. It is not the page's own, so the
// policy lets it.
func eval[T any](t testing.TB, ctx context.Context, script string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return v
}

// perform runs statements in the page.
func perform(t testing.TB, ctx context.Context, script string) {
	t.Helper()
	eval[bool](t, ctx, "(() => {"+script+"; return true})()")
}

// patience only bounds a failure.
const patience = time.Minute

// await waits until an expression is true. The page's policy forbids what
// chromedp.Poll does.
func await(t testing.TB, ctx context.Context, script string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !eval[bool](t, ctx, script); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			shot(t, ctx, "failed")
			t.Fatalf("%s does not become true", script)
		}
	}
}

// shot keeps a picture of what the browser shows, where TASKWATCH_SHOTS names a
// folder.
func shot(t testing.TB, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("TASKWATCH_SHOTS")
	if dir == "" {
		return
	}
	do(t, ctx, chromedp.Sleep(300*time.Millisecond))
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o666); err != nil {
		t.Fatal(err)
	}
}

// open shows a file. What its script throws fails the test.
func open(t testing.TB, ctx context.Context, url string) {
	t.Helper()
	if err := chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			t.Errorf("the page: %v", e.ExceptionDetails)
		}
	}); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Navigate(url))
	await(t, ctx, `window.taskwatch?.ready === true`)
}
