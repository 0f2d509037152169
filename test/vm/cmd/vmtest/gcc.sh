#!/bin/busybox sh
# Stands in for gcc in a guest: hands out what vmtest built from the same C
# file. It knows the flags that do not change the program.
mode=-m64 source= out=a.out
while [ $# -gt 0 ]; do
	case $1 in
	-o) out=$2; shift ;;
	-m32|-m64) mode=$1 ;;
	-static|-pthread|-g|-O*|-W*) ;;
	*.c)
		if [ -n "$source" ]; then
			echo "gcc (vmtest): more than one C file: $source $1" >&2
			exit 1
		fi
		source=$(readlink -f "$1") ;;
	*)
		echo "gcc (vmtest): the guest has no compiler, and the prebuilt programs know no $1" >&2
		exit 1 ;;
	esac
	shift
done
if [ -e "/prebuilt$source$mode.failed" ]; then
	cat "/prebuilt$source$mode.failed" >&2
	exit 1
fi
if ! [ -e "/prebuilt$source$mode" ]; then
	echo "gcc (vmtest): the guest has no compiler, and $source was not prebuilt: only testdata/*.c is" >&2
	exit 1
fi
cp "/prebuilt$source$mode" "$out"
