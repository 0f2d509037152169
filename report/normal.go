package report

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch/internal/lazyregexp"
	"github.com/taskwatch/taskwatch/internal/table"
	"github.com/taskwatch/taskwatch/process"
)

var (
	temporary = lazyregexp.New(`((?:/tmp|/var/tmp|/dev/shm)/)(?:user/[0-9]+/)?[^/\s:,;'"]+`)
	extension = lazyregexp.New(`^\.(?:[a-z][a-z0-9]{0,4}|[A-Z])$`) // not what mktemp puts behind a dot
	mktemp    = lazyregexp.New(`\btmp[._-][A-Za-z0-9_]{6,}`)
	digits    = lazyregexp.New(`[0-9]+`)

	// generated are the names that tools make for files of their own, wherever
	// TMPDIR leads, and in the directory of a build: gcc, go, rustc, Python, CMake.
	// What stands before and behind the random part stays.
	generated = lazyregexp.New(`\b(cc)([A-Za-z0-9]{6})(\.(?:s|o|c|i|ii|ld|le|res|cdtor\.[co]|ltrans[0-9]*\.[os])\b)|\b(go-build)([0-9]{5,})()|` +
		`\b(rustc)([A-Za-z0-9]{6})(\b)|\b(tmp)([a-z0-9_]{8})(\b)|(TryCompile-)([A-Za-z0-9]{6})(\b)|\b(cmTC_)([0-9a-f]{5})(\b)`)
	random = lazyregexp.New(`[A-Z0-9_]`) // what a word does not have
)

// normal returns a command line without the parts that change from run to run:
// names of temporary files, whose endings stay, and the pids of the process and
// its ancestors.
func normal(g *process.Program, p *process.Process) string {
	pids := map[string]bool{strconv.Itoa(p.PID): true}
	for a := range p.Ancestors() {
		pids[strconv.Itoa(a.PID)] = true
	}
	delete(pids, "1")
	var c table.Line
	command := g.Command
	command.Argv = slices.Clone(command.Argv)
	for i, arg := range command.Argv {
		arg = temporary.ReplaceAllStringFunc(arg, func(s string) string {
			base := s[strings.LastIndexByte(s, '/')+1:]
			return strings.TrimSuffix(s, base) + "*" + extension.FindString(filepath.Ext(strings.TrimPrefix(base, ".")))
		})
		arg = mktemp.ReplaceAllString(arg, "tmp*")
		arg = generated.ReplaceAllStringFunc(arg, withoutRandom)
		command.Argv[i] = digits.ReplaceAllStringFunc(arg, func(s string) string {
			if pids[s] {
				return "PID"
			}
			return s
		})
	}
	writeCommand(&c, &command)
	return string(c.Bytes)
}

// withoutRandom returns a generated name with a star for its random part, unless
// that is a word.
func withoutRandom(name string) string {
	m := generated.FindStringSubmatch(name)
	for i := 1; i+2 < len(m); i += 3 {
		if m[i] != "" && (m[i] == "cmTC_" || random.MatchString(m[i+1])) {
			return m[i] + "*" + m[i+2]
		}
	}
	return name
}
