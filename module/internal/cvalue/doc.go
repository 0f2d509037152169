// Package cvalue turns the bytes of variables into values and text, and back, by their
// BTF types. Modules in the sandbox, which have no BTF, describe their types: see
// [ParseType].
package cvalue
