#!/bin/busybox sh
# Stands in for gcc in a guest: hands out what vmtest built from the same C
# text. It knows the flags that do not change the program.
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
		source=$1 ;;
	*)
		echo "gcc (vmtest): the guest has no compiler, and the prebuilt programs know no $1" >&2
		exit 1 ;;
	esac
	shift
done
if ! [ -r "$source" ]; then
	echo "gcc (vmtest): no such file: $source" >&2
	exit 1
fi
sum=$(sha256sum <"$source")
prebuilt=/prebuilt/${sum%% *}$mode
if [ -e "$prebuilt.failed" ]; then
	cat "$prebuilt.failed" >&2
	exit 1
fi
if ! [ -e "$prebuilt" ]; then
	echo "gcc (vmtest): the guest has no compiler, and $source was not prebuilt: only testdata/*.c is" >&2
	exit 1
fi
cp "$prebuilt" "$out"
