package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manPage returns the page of a command in the language of man(7). Help is plain text:
// nothing in it is markup.
func manPage(c *cobra.Command) []byte {
	date := built()
	if date == nil {
		now := time.Now()
		date = &now
	}
	var p page
	p.line(`.TH "%s" "1" "%s" "taskwatch" "taskwatch"`, strings.ToUpper(roff(pageName(c))), date.Format("Jan 2006"))
	p.line(".nr HY 0") // a name that is copied has no hyphens of its own,
	p.line(".ad l")    // and no spaces
	p.line(".SH NAME")
	p.line(`%s \- %s`, roff(pageName(c)), roff(c.Short))
	p.line(".SH SYNOPSIS")
	p.verbatim(strings.Split(c.UseLine(), "\n"))
	p.line(".SH DESCRIPTION")
	p.text(c.Long)
	p.options("OPTIONS", c.NonInheritedFlags())
	p.options("OPTIONS INHERITED FROM PARENT COMMANDS", c.InheritedFlags())
	if c.Example != "" {
		p.line(".SH EXAMPLE")
		p.verbatim(strings.Split(c.Example, "\n"))
	}
	var also []string
	if c.HasParent() {
		also = append(also, pageName(c.Parent()))
	}
	for _, sub := range documented(c) {
		also = append(also, pageName(sub))
	}
	slices.Sort(also)
	for i, name := range also {
		also[i] = fmt.Sprintf(`\fB%s\fP(1)`, roff(name))
	}
	if len(also) > 0 {
		p.line(".SH SEE ALSO")
		p.line("%s", strings.Join(also, ", "))
	}
	return p.b.Bytes()
}

// pageName returns the name of a command's page.
func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// page is a page as far as it is written.
type page struct{ b bytes.Buffer }

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(&p.b, format+"\n", args...)
}

// text writes paragraphs. Lines that are indented stay as they are.
func (p *page) text(text string) {
	for paragraph := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		p.line(".PP")
		verbatim := false
		for line := range strings.SplitSeq(strings.Trim(paragraph, "\n"), "\n") {
			indented := strings.HasPrefix(line, " ")
			if indented && !verbatim {
				p.line(".EX")
			} else if verbatim && !indented {
				p.line(".EE")
			}
			verbatim = indented
			p.line("%s", roff(line))
		}
		if verbatim {
			p.line(".EE")
		}
	}
}

// verbatim writes lines that are not filled.
func (p *page) verbatim(lines []string) {
	p.line(".EX")
	for _, line := range lines {
		p.line("%s", roff(line))
	}
	p.line(".EE")
}

func (p *page) options(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	p.line(".SH %s", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		p.line(".TP")
		short := ""
		if f.Shorthand != "" {
			short = `\fB\-` + roff(f.Shorthand) + `\fP, `
		}
		if value != "" {
			value = ` \fI` + roff(value) + `\fP`
		}
		p.line(`%s\fB%s\fP%s`, short, roff("--"+f.Name), value)
		for line := range strings.SplitSeq(usage, "\n") {
			p.line("%s", roff(line))
		}
		if !slices.Contains([]string{"", "false", "0", "0s", "[]"}, f.DefValue) {
			p.line("(default %s)", roff(f.DefValue))
		}
	})
}

var roffSpecial = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// roff returns a line in which nothing is markup.
func roff(line string) string {
	line = roffSpecial.Replace(line)
	if strings.HasPrefix(line, ".") {
		return `\&` + line
	}
	return line
}
