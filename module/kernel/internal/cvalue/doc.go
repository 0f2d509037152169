// Package cvalue turns the bytes of C variables into values and text, and back, by
// their BTF types.
package cvalue
