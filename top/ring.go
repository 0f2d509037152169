package top

import "iter"

// ring keeps the last max values.
type ring[T any] struct {
	max   int
	list  []T
	first int
}

func (r *ring[T]) add(v T) {
	if len(r.list) < r.max {
		r.list = append(r.list, v)
		return
	}
	r.list[r.first] = v
	r.first = (r.first + 1) % r.max
}

// all returns the values, the oldest first.
func (r *ring[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for i := range r.list {
			if !yield(r.list[(r.first+i)%len(r.list)]) {
				return
			}
		}
	}
}

// newest returns the values, the newest first.
func (r *ring[T]) newest() iter.Seq[T] {
	return func(yield func(T) bool) {
		for i := len(r.list) - 1; i >= 0; i-- {
			if !yield(r.list[(r.first+i)%len(r.list)]) {
				return
			}
		}
	}
}
