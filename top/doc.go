// Package top is what a live screen shows of tasks: a [Model], fed with items,
// and a [View], which turns the model into the cells of a screen and keys into
// what is shown. Neither knows a terminal, a clock or a source, so that a
// screen follows from items, a size and keys alone.
//
// The memory of a model is bounded: it keeps something for live processes,
// for as many ended ones as its limits say, and for as many programs, users,
// containers, failures and watchers. A model and its views are for one
// goroutine at a time; a [Sink] has a lock for them.
package top
