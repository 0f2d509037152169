package bpf

import "github.com/taskwatch/taskwatch"

// parts puts together what the kernel side tells of one event. What is too long
// for one record, or wanted by few, comes in records of its own before that of the
// event.
//
// It ends the first of the three stages that a record goes through: bytes become
// facts (record), the facts change the tasks (runner.handle), and the events of
// that are delivered (runner.deliver).
type parts struct {
	strings interner
	scratch []byte
	dropped uint32                     // records that found no room, as of the last one
	extras  map[uint64]taskwatch.Extra // by task, as the others
	argv    map[uint64][]byte
	told    taskwatch.Extra // of the record that was taken last
	dirs    [1 << dirBits]struct{ now, before dir }
	abouts  map[uint64]about // by task, of the record that follows
}

// about is what the kernel side has told of the task of a module's record.
type about struct {
	exe, cwd string // "" if not known
	args     []string
	argsCut  bool
}

// dir is a working directory, which the upper bits of its number say the place of.
// The kernel side keeps the same numbers, and tells only of others. An event may
// be on its way while another directory takes the place.
type dir struct {
	number uint64
	path   string
	cut    bool // it could not be read
}

func placeOf(number uint64) uint64 { return number >> (64 - dirBits) }

func newParts() parts {
	return parts{
		strings: make(interner),
		extras:  make(map[uint64]taskwatch.Extra),
		argv:    make(map[uint64][]byte),
		abouts:  make(map[uint64]about),
	}
}

// take keeps a record that is a part of one that follows. To any other it adds its
// parts, and reports true.
func (p *parts) take(r *record) (whole bool) {
	if p.dropped != r.dropped {
		p.dropped = r.dropped
		clear(p.extras) // what they were of may be lost
		clear(p.abouts)
	}
	switch r.kind {
	case recordExtra:
		p.extras[r.task] = r.extra
		return false
	case recordProgram:
		p.program(r)
		return false
	case recordCwd:
		p.resolve(r)
		at := &p.dirs[placeOf(r.dir)]
		if at.now.number != r.dir {
			at.before = at.now
		}
		at.now = dir{r.dir, r.cwdPath, r.flags&flagCwdCut != 0}
		return false
	case recordAbout:
		p.resolve(r)
		p.arguments(r)
		p.abouts[r.task] = about{r.exePath, r.cwdPath, r.args, r.argsCut}
		return false
	case recordArgv:
		p.piece(r)
		return false
	case recordCgroup:
		p.resolve(r)
		return true
	case recordExec, recordTask:
		p.resolve(r)
		p.arguments(r)
	case recordReport:
		p.resolve(r)
	case recordInit, recordClone, recordExit, recordFree:
		delete(p.argv, r.task) // of an exec that was lost
	}
	r.told = nil
	if len(p.extras) > 0 {
		if x, ok := p.extras[r.task]; ok {
			p.told = x
			r.told = &p.told
			delete(p.extras, r.task)
		}
	}
	return true
}

// forget drops the parts of a record that will not come.
func (p *parts) forget(task uint64) {
	delete(p.extras, task)
	delete(p.argv, task)
	delete(p.abouts, task)
}

// cwd returns the working directory of a record, and whether it is known.
func (p *parts) cwd(r *record) (string, bool) {
	at := &p.dirs[placeOf(r.dir)]
	for _, d := range []*dir{&at.now, &at.before} {
		if r.dir != 0 && d.number == r.dir {
			return d.path, !d.cut
		}
	}
	return "", false
}

// about returns what was told of the task of a record.
func (p *parts) about(r *record) about {
	a, ok := p.abouts[r.task]
	if ok {
		delete(p.abouts, r.task)
		return a
	}
	cwd, _ := p.cwd(r)
	return about{cwd: cwd}
}

// program keeps what a record before an exec tells of the program.
func (p *parts) program(r *record) {
	p.resolve(r)
	x := p.extras[r.task]
	if r.flags&flagExeCut == 0 {
		x.ExeHost = r.exePath
		x.Given |= taskwatch.FieldExeHost
	}
	if r.flags&flagArgvLeft == 0 {
		x.Env, x.EnvCut = splitArgs(r.argv), r.flags&flagArgvCut != 0
		x.Given |= taskwatch.FieldEnv
	}
	p.extras[r.task] = x
}

// resolve writes the paths of a record as the links in /proc do.
func (p *parts) resolve(r *record) {
	r.exePath, r.cwdPath = "", ""
	if r.flags&flagExeCut == 0 {
		r.exePath = p.path(r.exe, r.flags&flagExeGone != 0)
	}
	if r.flags&flagCwdCut == 0 {
		r.cwdPath = p.path(r.cwd, r.flags&flagCwdGone != 0)
	}
}

func (p *parts) path(names []byte, gone bool) string {
	p.scratch = appendPath(p.scratch[:0], names)
	if gone {
		p.scratch = append(p.scratch, " (deleted)"...)
	}
	return p.strings.get(p.scratch)
}

// maxArgv is how many bytes of an argv are sent: argvs up to that are complete.
const maxArgv = argvChunk * argvChunks

// piece keeps a piece of a long argv.
func (p *parts) piece(r *record) {
	if r.argvOff == 0 {
		p.argv[r.task] = nil
	}
	before, ok := p.argv[r.task]
	if ok && len(before) == r.argvOff && r.argvOff+len(r.argv) <= maxArgv {
		p.argv[r.task] = append(before, r.argv...)
	}
}

// arguments reads the argv of a record, the end of which is in the record.
func (p *parts) arguments(r *record) {
	before := p.argv[r.task]
	delete(p.argv, r.task)
	area, cut := r.argv, r.flags&flagArgvCut != 0
	switch {
	case r.flags&flagArgvLeft != 0:
		r.args, r.argsCut = nil, false
		return
	case r.argvOff == 0: // no pieces, unless of an exec that was lost
	case len(before) == r.argvOff:
		area = append(before, area...)
	default:
		area, cut = before, true // a piece in the middle was lost
	}
	r.args, r.argsCut = splitArgs(area), cut
}
