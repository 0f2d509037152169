package compiledb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Entry is one command of the database. Directory, File and Output are
// absolute.
type Entry struct {
	Arguments []string `json:"arguments"`
	Directory string   `json:"directory"`
	File      string   `json:"file"`
	Output    string   `json:"output,omitempty"`
}

// entries returns the entries of a call that was made in a directory by a
// program with that path. unread says that there are none, and that a response
// file which cannot be read may be the reason.
func (o *Options) entries(c *call, exe, dir string) (list []Entry, unread bool) {
	args := o.expand(c.args, dir, 0)
	p := parse(c.dialect, args) // what is in response files counts
	if p.nothing {
		return nil, false
	}
	if len(p.sources) == 0 {
		return nil, slices.ContainsFunc(p.kept, func(a argument) bool { return strings.HasPrefix(a.words[0], "@") })
	}
	words := p.of
	if !o.Expand && !slices.Equal(args, c.args) {
		words = p.unexpanded(parse(c.dialect, c.args))
	}
	compiler := o.pathOf(c.compiler, exe, dir)
	for _, i := range p.sources {
		words := words(i)
		if c.own != nil {
			words = slices.DeleteFunc(words, func(w string) bool { return slices.Contains(c.own.Remove, w) })
			words = append(words, c.own.Add...)
		}
		e := Entry{
			Arguments: append([]string{compiler}, words...),
			Directory: dir,
			File:      absolute(p.kept[i].words[0], dir),
		}
		if p.output != "" {
			e.Output = absolute(p.output, dir)
		}
		list = append(list, e)
	}
	return list, false
}

func absolute(path, dir string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return filepath.Clean(path)
}

// pathOf returns the absolute path by which a compiler was called. Symbolic
// links stay, because compilers look at their names. If the path cannot be found
// any more, pathOf returns the name of the call. exe is the file that the kernel
// ran.
func (o *Options) pathOf(name, exe, dir string) string {
	launched := o.isLauncher(filepath.Base(exe)) // the compiler is another file, behind it
	called := name
	if strings.Contains(name, "/") {
		called = absolute(name, dir)
		if target, err := o.Files.Resolve(called); err != nil || !o.isLauncher(filepath.Base(target)) {
			return called
		}
		launched, name = true, filepath.Base(name) // a link to a launcher, which looks for what has its name
	}
	if filepath.Base(exe) == name {
		return exe
	}
	for _, in := range append([]string{filepath.Dir(exe)}, filepath.SplitList(os.Getenv("PATH"))...) {
		path := filepath.Join(in, name)
		if !filepath.IsAbs(path) {
			continue
		}
		target, err := o.Files.Resolve(path)
		if err != nil {
			continue
		}
		if launched && !o.isLauncher(filepath.Base(target)) || !launched && target == exe {
			return path
		}
	}
	return called
}

const maxNested = 10 // response files that name response files

// expand replaces response files by the arguments in them. If a file cannot be
// read, the word stays; compilers do the same.
func (o *Options) expand(args []string, dir string, depth int) []string {
	var list []string
	for _, arg := range args {
		name, isFile := strings.CutPrefix(arg, "@")
		if !isFile || depth == maxNested {
			list = append(list, arg)
			continue
		}
		text, err := o.Files.Read(absolute(name, dir))
		if err != nil {
			list = append(list, arg)
			continue
		}
		list = append(list, o.expand(words(string(text)), dir, depth+1)...)
	}
	return list
}

// words splits the text of a response file. Both kinds of quotes and backslashes
// mean the same as for GNU programs.
func words(text string) []string {
	var (
		list  []string
		word  []byte
		in    bool
		quote byte
	)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			word, in = append(word, text[i]), true
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word = append(word, c)
			}
		case c == '"' || c == '\'':
			quote, in = c, true
		case strings.IndexByte(" \t\n\r\v\f", c) >= 0:
			if in {
				list = append(list, string(word))
				word, in = nil, false
			}
		default:
			word, in = append(word, c), true
		}
	}
	if in {
		list = append(list, string(word))
	}
	return list
}
