package recorded

import (
	"strings"

	"github.com/taskwatch/taskwatch/module/kernel/internal/machine"
)

// deleted is how the kernel ends the path of a file that has lost its name.
const deleted = " (deleted)"

// mount makes the one mount that there is: paths of a recording are those that the
// task has, below its root.
func (w *World) makeMount() {
	w.mount, w.root = w.newObject("mount"), w.newObject("dentry")
	w.root.set(w.root.addr(), "d_parent")
	w.root.set(0, "d_hash", "pprev")
	w.root.set(1, "d_name", "len")
	slash := w.machine.Memory.Add(&machine.Region{Name: "the name of a file", Data: []byte("/\x00"), ReadOnly: true})
	w.root.set(slash.Addr(), "d_name", "name")
	w.mount.set(w.mount.addr(), "mnt_parent")
	w.mount.set(w.root.addr(), "mnt_mountpoint")
	w.mount.set(w.root.addr(), "mnt", "mnt_root")
}

// file makes the file at a path. ino is its number, if that is known.
func (w *World) file(path string, ino uint64, hasIno bool) (uint64, error) {
	f := w.passing("file")
	f.set(w.mount.at("mnt"), "f_path", "mnt")
	f.point(func() (uint64, error) { return w.dentry(path, ino, hasIno) }, "f_path", "dentry")
	f.point(func() (uint64, error) { return w.inode(ino, hasIno), nil }, "f_inode")
	return f.addr(), nil
}

func (w *World) inode(ino uint64, known bool) uint64 {
	i := w.passing("inode")
	if known {
		i.set(ino, "i_ino")
	}
	return i.addr()
}

// dentry makes the last name of a path, and the ones before it when they are read.
func (w *World) dentry(path string, ino uint64, hasIno bool) (uint64, error) {
	if !strings.HasPrefix(path, "/") {
		return 0, machine.Unsupported("it reads the path %q, which the recording does not have in full", path)
	}
	path, gone := strings.CutSuffix(path, deleted)
	path = strings.TrimRight(path, "/")
	if path == "" {
		return w.root.addr(), nil
	}
	slash := strings.LastIndexByte(path, '/')
	name := path[slash+1:]
	d := w.passing("dentry")
	d.point(func() (uint64, error) { return w.dentry(path[:slash+1], 0, false) }, "d_parent")
	d.set(uint64(len(name)), "d_name", "len")
	d.set(w.text("the name of a file", name), "d_name", "name")
	if gone {
		d.set(0, "d_hash", "pprev")
	} else {
		d.set(d.addr(), "d_hash", "pprev") // any address does
	}
	d.point(func() (uint64, error) { return w.inode(ino, hasIno), nil }, "d_inode")
	return d.addr(), nil
}
