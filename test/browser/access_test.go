package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// node is one of the accessibility tree, which screen readers read.
type node struct {
	role, name string
	parent     *node
}

// within returns the next node above with a role, or nil.
func (n *node) within(role string) *node {
	for p := n.parent; p != nil; p = p.parent {
		if p.role == role {
			return p
		}
	}
	return nil
}

// accessible returns what a screen reader finds on the page.
func accessible(t *testing.T, ctx context.Context) []*node {
	t.Helper()
	res, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		t.Fatal(err)
	}
	text := func(v *accessibility.Value) (s string) {
		if v != nil && json.Unmarshal(v.Value, &s) != nil {
			t.Fatalf("a name that is no text: %s", v.Value)
		}
		return s
	}
	all := map[accessibility.NodeID]*node{}
	for _, n := range res.Nodes {
		all[n.NodeID] = &node{role: text(n.Role), name: strings.TrimSpace(text(n.Name))}
	}
	var seen []*node
	for _, n := range res.Nodes {
		all[n.NodeID].parent = all[n.ParentID]
		if !n.Ignored {
			seen = append(seen, all[n.NodeID])
		}
	}
	return seen
}

// controls are the roles of what somebody can use, each of which needs a name.
var controls = []string{"button", "link", "textbox", "searchbox", "combobox", "listbox", "checkbox", "dialog", "application", "table", "columnheader", "rowheader", "form", "search", "region", "navigation", "complementary"}

// tables checks that everything has a name, that these are the tables, and that
// each of them has named columns and, in each line, one head.
func tables(t *testing.T, ctx context.Context, want ...string) {
	t.Helper()
	rows, columns := map[*node]map[*node]int{}, map[*node]int{}
	var names []string
	for _, n := range accessible(t, ctx) {
		if n.name == "" && slices.Contains(controls, n.role) {
			t.Errorf("a %s without a name", n.role)
		}
		table := n.within("table")
		switch n.role {
		case "table":
			names = append(names, n.name)
			rows[n] = map[*node]int{}
		case "columnheader":
			columns[table]++
		case "rowheader":
			rows[table][n.within("row")]++
		case "cell":
			rows[table][n.within("row")] += 0
		}
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("a screen reader finds the tables %q, want %q", names, want)
	}
	for table, lines := range rows {
		if columns[table] < 2 {
			t.Errorf("table %q has %d named columns", table.name, columns[table])
		}
		if len(lines) == 0 {
			t.Errorf("table %q has no lines", table.name)
		}
		for _, heads := range lines {
			if heads != 1 {
				t.Errorf("a line of table %q has %d heads", table.name, heads)
			}
		}
	}
}

// order returns where Tab leads: the id of each thing that gets the focus, or of
// what it is in; what follows in the same one is left out. Each has to be seen to
// have the focus.
func order(t *testing.T, ctx context.Context, last string) []string {
	t.Helper()
	// Tab goes on from where the focus was last, even if that is gone.
	perform(t, ctx, `const first = document.createElement('button'); document.body.prepend(first); first.focus(); first.remove()`)
	var ids []string
	for range 200 {
		do(t, ctx, chromedp.KeyEvent(kb.Tab))
		at := eval[[]string](t, ctx, `(() => {
			const e = document.activeElement;
			const css = getComputedStyle(e);
			return [e.hash || e.closest('table')?.id || e.closest('[id]')?.id || e.tagName, css.outlineStyle, css.outlineWidth, e.textContent.slice(0, 40)];
		})()`)
		if at[1] == "none" || at[2] == "0px" {
			t.Errorf("that %s (%q) has the focus cannot be seen", at[0], at[3])
		}
		if len(ids) == 0 || ids[len(ids)-1] != at[0] {
			ids = append(ids, at[0])
		}
		if at[0] == last {
			return ids
		}
	}
	t.Errorf("Tab leads to %q, and never to %s", ids, last)
	return ids
}

// A screen reader finds the tables of the timeline with their heads, and a name
// for each control; Tab goes through the page from its beginning to its end.
func TestAccessibleTimeline(t *testing.T) {
	testutil.Long(t)
	ctx := opened(t, 30, 1200, 900)
	tables(t, ctx, "Critical path", "Most expensive programs", "Processes")
	want := []string{"slowest", "path", "dear", "search", "filter", "in", "out", "fit", "threads", "theme", "helpbutton", "canvas", "table"}
	if got := order(t, ctx, "table"); !slices.Equal(got, want) {
		t.Errorf("Tab leads to %q, want %q", got, want)
	}
	// A line of the table, by keys: its details are announced.
	do(t, ctx, chromedp.Focus(chromedp.CSS("#table tbody button")), chromedp.KeyEvent(kb.Enter))
	await(t, ctx, `!document.querySelector('#details').hidden`)
	if live := eval[string](t, ctx, `document.querySelector('#details').ariaLive`); live != "polite" {
		t.Errorf("details are announced %q", live)
	}
	do(t, ctx, chromedp.Click(chromedp.CSS("#helpbutton")))
	await(t, ctx, `document.querySelector('#help').open`)
	var dialogs []string
	for _, n := range accessible(t, ctx) {
		if n.role == "dialog" {
			dialogs = append(dialogs, n.name)
		}
	}
	if !slices.Equal(dialogs, []string{"Keys"}) {
		t.Errorf("the help is found as %q", dialogs)
	}
}

// So it is on the pages of 'taskwatch ui'.
func TestAccessiblePages(t *testing.T) {
	testutil.Long(t)
	testutil.Root(t)
	ctx, _ := live(t)
	head := []string{"#timeline", "#processes", "#modules"}
	goTo := func(name string) {
		t.Helper()
		perform(t, ctx, fmt.Sprintf(`location.hash = '#%s'`, name))
		await(t, ctx, fmt.Sprintf(`document.querySelector('nav a[aria-current]').hash === '#%s'`, name))
	}
	check := func(page string, tab []string, names ...string) {
		t.Helper()
		tables(t, ctx, names...)
		if got, want := order(t, ctx, tab[len(tab)-1]), append(slices.Clone(head), tab...); !slices.Equal(got, want) {
			t.Errorf("on the page of %s, Tab leads to %q, want %q", page, got, want)
		}
	}
	await(t, ctx, `document.querySelectorAll('#dear tbody tr').length > 0 && document.querySelectorAll('#table tbody tr').length > 0`)
	check("the timeline", []string{"expr", "where", "dear", "search", "filter", "in", "out", "fit", "follow", "threads", "theme", "helpbutton", "canvas", "table"},
		"Most expensive programs", "Processes")

	goTo("processes")
	await(t, ctx, `document.querySelectorAll('#tree tbody tr').length > 0`)
	check("processes", []string{"expr", "where", "tree"}, "Live processes, below those that made them")

	goTo("modules")
	await(t, ctx, `!document.querySelector('#load').hidden`)
	perform(t, ctx, `document.querySelector('#load-stock').value = 'execrule'; document.querySelector('#load-stock').dispatchEvent(new Event('change')); document.querySelector('#load-params').value = 'program=/nowhere/'`)
	do(t, ctx, chromedp.Click(chromedp.CSS(`#load-observe`)), chromedp.Click(chromedp.CSS(`#load-button`)))
	await(t, ctx, `document.querySelector('#modules tbody tr th')?.textContent === 'execrule' && !document.querySelector('#module').hidden`)
	check("modules", []string{"modules", "load-stock", "load-file", "load-signature", "load-name", "load-params", "load-observe", "load-effort", "load-button"},
		"Modules of the daemon, in the order in which they are called", "Parameters", "Variables", "Watchers")
	do(t, ctx, chromedp.Click(chromedp.CSS(`#modules tbody td button`)))
	await(t, ctx, `document.querySelector('#unload').open`)
	var dialogs []string
	for _, n := range accessible(t, ctx) {
		if n.role == "dialog" {
			dialogs = append(dialogs, n.name)
		}
	}
	if !slices.Equal(dialogs, []string{"Unload execrule?"}) {
		t.Errorf("the question is found as %q", dialogs)
	}
	if id := eval[string](t, ctx, `document.activeElement.id`); id != "unload-no" {
		t.Errorf("the question begins with %q", id)
	}
}
