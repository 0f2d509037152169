#!/bin/busybox sh
# The guest's init. It runs /.vm/run, whose output is the second serial port,
# and reports its exit status there. The first port is the kernel's.
# Programs of Debian's go before those of busybox, whose links are all in /bin.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmp /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf -o mode=700 bpf /sys/fs/bpf
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
hostname vm
ip link set lo up
# One may need another that comes later by name: those are tried again.
for try in 1 2 3 4; do
	for module in /.vm/modules/*; do
		case $module in
		*.xz) xzcat "$module" >/tmp/module.ko && insmod /tmp/module.ko && rm "$module"; rm -f /tmp/module.ko ;;
		*.ko) insmod "$module" && rm "$module" ;;
		esac
	done 2>/run/insmod
done
[ ! -s /run/insmod ] || cat /run/insmod
if [ -e /sys/class/net/eth0 ]; then
	ip addr add 10.0.2.15/24 dev eth0
	ip link set eth0 up
	ip route add default via 10.0.2.2
fi
tty=$(cat /.vm/tty)
stty -F "$tty" raw -echo
. /.vm/setup
/.vm/run </dev/null >"$tty" 2>&1
status=$?
# The port is not the guest's controlling terminal and is drained on close.
printf '\n%s %d\n' "$(cat /.vm/token)" "$status" >"$tty"
sync
poweroff -f
