package watchtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// load is a program that others wrote, which makes tasks in its own way.
type load struct {
	name    string
	argv    []string
	long    bool // with -short, two that differ most have to do
	nightly bool
	needs   []testutil.Need
}

// stressors are those of stress-ng that make tasks.
var stressors = []string{"clone", "exec", "fork", "vfork", "daemon", "unshare", "session"}

// loads returns the loads; files are written to dir.
func loads(t testing.TB, dir string) []load {
	for name, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o777} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	ops, limit := strconv.Itoa(testutil.Size(5, 20, 400)), strconv.Itoa(testutil.Size(1, 2, 30))
	var list []load
	for _, s := range stressors {
		l := load{
			name:  "stress-ng-" + s,
			argv:  []string{"stress-ng", "--temp-path", dir, "--timeout", limit, "--" + s, "1", "--" + s + "-ops", ops},
			needs: []testutil.Need{testutil.NeedsTool("stress-ng")},
			long:  s != "clone",
			// Each of its namespaces takes its time.
			nightly: s == "unshare",
		}
		if s == "exec" && os.Geteuid() == 0 { // which root is not let run
			l.argv = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, l.argv...)
			l.needs = append(l.needs, testutil.NeedsTool("setpriv"))
		}
		list = append(list, l)
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	python := write("load.py", `import multiprocessing, subprocess, sys
def f(i): return subprocess.run(["true"]).returncode
if __name__ == "__main__":
    with multiprocessing.Pool(4) as p: sys.exit(sum(p.map(f, range(20))))
`)
	node := write("load.js", `const { execFileSync, spawn } = require("child_process");
const { Worker } = require("worker_threads");
for (let i = 0; i < 5; i++) execFileSync("true");
for (let i = 0; i < 5; i++) spawn("true").on("exit", c => { if (c) process.exit(1); });
for (let i = 0; i < 3; i++) new Worker("setTimeout(() => 0, 10)", { eval: true });
`)
	java := write("Load.java", `public class Load {
    public static void main(String[] args) throws Exception {
        Thread[] ts = new Thread[8];
        for (int i = 0; i < ts.length; i++) (ts[i] = new Thread(() -> { })).start();
        for (Thread t : ts) t.join();
        for (int i = 0; i < 5; i++) if (new ProcessBuilder("true").start().waitFor() != 0) System.exit(1);
    }
}
`)
	module := filepath.Join(dir, "module") // which make writes no C into
	if err := os.Mkdir(module, 0o755); err != nil {
		t.Fatal(err)
	}
	write("module/go.mod", "module load\n\ngo 1.21\n")
	write("module/main.go", "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(1) }\n")
	write("Makefile", "all: a.o b.o c.o\n\tgcc -o all a.o b.o c.o\na.c b.c c.c: %.c:\n\tif [ $* = a ]; then echo 'int main(void) { return 0; }'; else echo 'int $*;'; fi >$@\na.o b.o c.o: %.o: %.c\n\tgcc -pipe -c -o $@ $<\nMakefile:;\n")
	tool := func(names ...string) (needs []testutil.Need) {
		for _, name := range names {
			needs = append(needs, testutil.NeedsTool(name))
		}
		return needs
	}
	return append(list,
		load{name: "make", argv: []string{"make", "-s", "-B", "-j4", "-C", dir, "all"}, needs: tool("make", "gcc")},
		load{name: "go-build", argv: []string{"go", "build", "-C", module, "-o", filepath.Join(dir, "built"), "."}, needs: tool("go"), nightly: true},
		load{name: "node", argv: []string{"node", node}, needs: tool("node"), nightly: true},
		load{name: "java", argv: []string{"java", java}, needs: tool("java"), nightly: true},
		load{name: "python", argv: []string{"python3", python}, needs: tool("python3"), nightly: true},
	)
}

// Loads runs programs that others wrote under a source that starts commands,
// and checks that they end as they do alone, and that the life of each task has
// a beginning and an end.
func Loads(t *testing.T, cfg Config) {
	dir := t.TempDir()
	for _, l := range loads(t, dir) {
		t.Run(l.name, func(t *testing.T) {
			if l.nightly {
				testutil.Nightly(t)
			}
			if l.long {
				testutil.Long(t)
			}
			testutil.Require(t, l.needs...)
			path, err := exec.LookPath(l.argv[0])
			if err != nil {
				t.Fatal(err)
			}
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			alone := exec.Command(path, l.argv[1:]...)
			alone.Env = append(os.Environ(), "PWD="+dir)
			alone.Dir = dir
			if out, err := alone.CombinedOutput(); err != nil {
				t.Fatalf("without any source: %v\n%s", err, out)
			}
			var lives lives
			var reg taskwatch.Registry
			if err := lives.watch(&reg); err != nil {
				t.Fatal(err)
			}
			inst := cfg.New(t, Command{
				Path: path, Argv: l.argv, Env: alone.Env, Dir: dir, Stdin: null, Stdout: null, Stderr: null,
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			if err := inst.Source.Run(ctx, &reg); err != nil {
				t.Fatal(err)
			}
			if got := inst.Exit(); got != (taskwatch.ExitStatus{Group: true}) {
				t.Errorf("it ended with %+v, and without a source with 0", got)
			}
			if len(lives.tasks) < 3 {
				t.Errorf("%d tasks are no load", len(lives.tasks))
			}
			report(t, "Each task is made, ends, and is freed, once.", lives.problems())
			t.Logf("%d tasks, %d events lost", len(lives.tasks), lives.lost)
		})
	}
}

// lives counts the events of each task.
type lives struct {
	mu    sync.Mutex // a source may notify from several goroutines
	tasks map[taskwatch.TaskID]*[taskwatch.NumKinds]int
	order []string
	lost  uint64
}

func (l *lives) watch(reg *taskwatch.Registry) error {
	l.tasks = make(map[taskwatch.TaskID]*[taskwatch.NumKinds]int)
	return reg.Attach(taskwatch.NewSink(taskwatch.WantAll(taskwatch.AllKinds), func(it taskwatch.Item) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case it.Loss != nil:
			l.lost += it.Loss.Count
		case it.Event != nil:
			l.add(it.Event)
		}
	}))
}

func (l *lives) add(ev *taskwatch.Event) {
	counts := l.tasks[ev.Task.ID]
	if counts == nil {
		counts = new([taskwatch.NumKinds]int)
		l.tasks[ev.Task.ID] = counts
	}
	counts[ev.Kind]++
	switch k := ev.Kind; {
	case k != taskwatch.Free && counts[taskwatch.Free] > 0,
		k != taskwatch.Free && k != taskwatch.Exit && counts[taskwatch.Exit] > 0,
		k == taskwatch.Init && (counts[taskwatch.Clone] > 0 || counts[taskwatch.Exec] > 0):
		l.order = append(l.order, fmt.Sprintf("task %s: its %s event %d comes too late", ev.Task.ID, k, ev.Seq))
	}
}

// problems says which lives have no beginning or no end, beyond what was lost.
func (l *lives) problems() []string {
	list := append([]string(nil), l.order...)
	var missing uint64
	strangers := 0
	for id, n := range l.tasks {
		once := n[taskwatch.Free] == 1 && n[taskwatch.Init] <= 1 && n[taskwatch.Clone] <= 1 && n[taskwatch.Exit] <= 1
		unborn := n[taskwatch.Init] == 1 && n[taskwatch.Clone] == 0 && n[taskwatch.Exit] == 0 // its fork failed
		switch {
		case n[taskwatch.Clone] == 0 && !unborn:
			strangers++
			fallthrough
		case !once || n[taskwatch.Exit] == 0 && !unborn:
			for _, k := range []taskwatch.Kind{taskwatch.Exit, taskwatch.Free} {
				if n[k] == 0 {
					missing++
				}
				if n[k] > 1 {
					list = append(list, fmt.Sprintf("task %s has %d %s events", id, n[k], k))
				}
			}
		}
	}
	if strangers != 1 {
		list = append(list, fmt.Sprintf("%d tasks were made by nobody; that is the command alone", strangers))
	}
	if missing != l.lost {
		list = append(list, fmt.Sprintf("%d exits and frees are missing, and %d events were told to be lost", missing, l.lost))
	}
	return list
}
