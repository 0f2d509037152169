// Package enrich adds to events what the kernel does not know: the container
// that a task is in. Its id, the runtime and the pod follow from the path of
// the cgroup alone; its name, image and labels are asked of the runtimes, and
// are unknown until they have answered. No event ever waits for that.
package enrich
