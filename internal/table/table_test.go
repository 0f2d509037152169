package table

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	for _, c := range []struct {
		name string
		make func() *Table
		want []string
	}{
		{"left and right", func() *Table {
			t := New(Left("NAME"), Right("N"), Left("WHAT"))
			t.Row("a", "10", "x")
			t.Row("longer", "7", "a long last cell")
			return t
		}, []string{"NAME     N  WHAT", "a       10  x", "longer   7  a long last cell"}},
		{"wide characters", func() *Table {
			t := NewLeft("A", "B")
			t.Row("世界", "x")
			t.Row("é", "y")
			return t
		}, []string{"A     B", "世界  x", "é     y"}},
		{"a short row", func() *Table {
			t := NewLeft("A", "B", "C")
			t.Row("1", "2", "3")
			t.Row("1", "this reaches far")
			return t
		}, []string{"A  B  C", "1  2  3", "1  this reaches far"}},
		{"cut", func() *Table {
			t := NewLeft("A", "B")
			t.Indent, t.Width = "  ", 8
			t.Row("1", "12345")
			t.Row("1", "123")
			return t
		}, []string{"  A  B", "  1  12…", "  1  123"}},
		{"no rows", func() *Table { return NewLeft("A", "B") }, []string{"A  B"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			if err := c.make().Write(&b); err != nil {
				t.Fatal(err)
			}
			if want := strings.Join(c.want, "\n") + "\n"; b.String() != want {
				t.Errorf("got\n%swant\n%s", b.String(), want)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	got := Wrap(12, "why: ", "  ", "one two three 世界世界 a-word-that-is-too-long end")
	want := "why: one two\n  three\n  世界世界\n  a-word-that-is-too-long\n  end\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// What is cut takes as many columns as there are at most, and says so.
func TestLine(t *testing.T) {
	const text = "ab世é\u0301c\U0001f469\u200d\U0001f467d"
	for width := 1; width < 14; width++ {
		l := Line{Width: width, Colour: true}
		l.Paint("\x1b[31m", text)
		shown := strings.NewReplacer("\x1b[31m", "", plain, "").Replace(string(l.Bytes))
		if Width(shown) > width {
			t.Errorf("%d columns: %q takes %d", width, shown, Width(shown))
		}
		if cut := strings.HasSuffix(shown, CutMark); cut != l.Full() || cut != (Width(text) > width) {
			t.Errorf("%d columns: %q, cut: %v, want %v", width, shown, l.Full(), Width(text) > width)
		}
		if !strings.HasPrefix(text, strings.TrimSuffix(shown, CutMark)) || !strings.HasSuffix(string(l.Bytes), plain) {
			t.Errorf("%d columns: %q", width, l.Bytes)
		}
	}
}
