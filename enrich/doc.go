// Package enrich adds what the kernel does not know: the container of a task.
// The path of the cgroup is enough for its id, the runtime and the pod. Name,
// image and labels come from the runtime, and are unknown until it answers. No
// event waits for the answer.
package enrich
