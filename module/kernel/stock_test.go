package kernel

import (
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestTwbench(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "twbench", "../../modules/twbench/twbench.c")
	register(t, table, m)
	startLoad(t, 200, 0, 50).run()
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	// The whole machine is counted, so it may be more.
	if forks, exits := global(t, m, "forks"), global(t, m, "exits"); forks < 251 || exits < 251 {
		t.Errorf("%d forks and %d exits, want 251 or more", forks, exits)
	}
	for _, name := range []string{"peak_forks_per_second", "peak_exits_per_second"} {
		if got := global(t, m, name); got > global(t, m, "forks")+global(t, m, "exits") {
			t.Errorf("%s: %d is more than there were", name, got)
		}
	}
}

func TestAcct(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "acct", "../../modules/acct/acct.c")
	register(t, table, m)
	const user = 34585 // nobody else runs as it
	cmd := exec.Command(testutil.BuildC(t, "-static", "testdata/burn.c"), "20", "10")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	type usage struct{ Forks, Execs, Exits, Killed, CPUNS uint64 }
	get := func() (u usage) {
		t.Helper()
		if err := m.coll.Maps["users"].Lookup(uint32(user), &u); err != nil {
			t.Fatal(err)
		}
		return u
	}
	u := get()
	// The process itself was forked by another user: it has an exec and an
	// exit, and its 20 children a fork and an exit each, 10 of them killed.
	if u.Forks != 20 || u.Execs != 1 || u.Exits != 21 || u.Killed != 10 {
		t.Errorf("got %+v, want 20 forks, 1 exec, 21 exits, 10 killed", u)
	}
	// What wait4 says of the process and its children is the truth.
	used := uint64(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime())
	if support(t).FEntry == nil { // else sched_process_free, which misses some
		eventually(t, "CPU time is within a tenth of wait4's (1 is yes)", 1, func() uint64 {
			if got := get().CPUNS; got > used-used/10 && got < used+used/10 {
				return 1
			}
			return 0
		})
	}
	if got := get().CPUNS; got > used+used/10 {
		t.Errorf("%d ns of CPU time, and wait4 says %d", got, used)
	}
}

// A record for which no memory is free is counted, and others are made when some is.
func TestAuditrecIsBusy(t *testing.T) {
	table := newTable(t, Config{})
	const user = 34586 // nobody else runs as it
	m := loadFile(t, "auditrec", "../../modules/auditrec/auditrec.c", fmt.Sprintf("uid=%d", user))
	register(t, table, m)
	slots := m.coll.Maps["entries"]
	take := func(taken byte) {
		t.Helper()
		slot := make([]byte, slots.ValueSize())
		slot[0] = taken
		for i := range slots.MaxEntries() {
			if err := slots.Put(i, slot); err != nil {
				t.Fatal(err)
			}
		}
	}
	burn := testutil.BuildC(t, "-static", "testdata/burn.c")
	run := func() {
		t.Helper()
		cmd := exec.Command(burn, "20", "10")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s, %v", out, err)
		}
	}
	take(1)
	run()
	// Its exec, its end, and the ends of the ten children that nobody kills.
	busy := global(t, m, "busy")
	if busy < 12 {
		t.Errorf("%d records are counted as lost, want 12 or more", busy)
	}
	take(0)
	run()
	if now := global(t, m, "busy"); now != busy {
		t.Errorf("%d more are lost with all memory free", now-busy)
	}
	// Nobody reads the stream, so each record that is made now finds no room in it.
	if made := global(t, m, "dropped"); made != busy {
		t.Errorf("%d records are made, and %d were lost without memory", made, busy)
	}
	var slot []byte
	for i := range slots.MaxEntries() {
		if err := slots.Lookup(i, &slot); err != nil || slot[0] != 0 {
			t.Errorf("slot %d was not given back: %v", i, err)
		}
	}
}
