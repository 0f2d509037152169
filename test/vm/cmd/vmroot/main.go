// Vmroot boots a Debian root with systemd in a virtual machine, runs a shell
// script in it as a unit, and ends with the script's exit status:
//
//	vmroot [-kernel SERIES] [-timeout TIME] ROOT.tar SCRIPT
//
// The root is unpacked into memory, so nothing of it stays.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/test/vm"
)

// setup goes from the guest's init to systemd, which becomes the first process.
const setup = `mkdir /newroot
mount -t tmpfs -o size=75%,mode=755 newroot /newroot
tar -xf /root.tar -C /newroot && rm /root.tar
cp /script /newroot/script
cp -r /.vm /newroot/.vm
cat >/newroot/etc/systemd/system/script.service <<'UNIT'
[Unit]
Description=The script
After=basic.target dbus.service systemd-logind.service
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/bash -c 'tty=$(cat /.vm/tty); stty -F $tty raw -echo; exec >$tty 2>&1 </dev/null; bash /script; status=$?; printf "\n%%s %%d\n" "$(cat /.vm/token)" $status; sync; systemctl poweroff --force --force'
UNIT
mkdir -p /newroot/etc/systemd/system/multi-user.target.wants
ln -s ../script.service /newroot/etc/systemd/system/multi-user.target.wants/script.service
# The consoles are not for logging in.
for unit in getty@tty1 serial-getty@ttyS0 serial-getty@ttyS1; do ln -sf /dev/null /newroot/etc/systemd/system/$unit.service; done
umount /dev/shm /dev/pts /dev /run /tmp
umount -l /proc /sys
exec switch_root /newroot /lib/systemd/systemd --show-status=false
`

func main() {
	status, err := run(os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "vmroot:", err)
	}
	os.Exit(status)
}

func run(args []string) (status int, err error) {
	fs := flag.NewFlagSet("vmroot", flag.ContinueOnError)
	series := fs.String("kernel", "6.12", "the `series` of Debian's kernel")
	timeout := fs.Duration("timeout", 20*time.Minute, "the most `time` that the machine may take")
	if err := fs.Parse(args); err != nil {
		return 2, err
	}
	if fs.NArg() != 2 {
		return 2, errors.New("name a tar of a root, and a script: vmroot ROOT.tar SCRIPT")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer cancel()
	kernel, err := vm.FindKernel(ctx, vm.HostArch, *series)
	if err != nil {
		return 1, err
	}
	result, err := vm.Run(ctx, vm.Config{
		Kernel: kernel, Cmdline: "lsm=landlock,yama,apparmor,bpf", MemMiB: 3072, CPUs: 1, Timeout: *timeout,
		Files: []vm.File{{Guest: "/root.tar", Host: fs.Arg(0)}, {Guest: "/script", Host: fs.Arg(1)}},
		Setup: setup, Cmd: []string{"/bin/false"}, // not reached
		Output: os.Stdout,
	})
	if err != nil || result.ExitCode != 0 {
		const end = 8 << 10 // of the console is enough
		os.Stderr.Write(result.Console[max(0, len(result.Console)-end):])
	}
	if err != nil {
		return 1, err
	}
	return result.ExitCode, nil
}
