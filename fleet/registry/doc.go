// Package registry puts modules into registries of containers (OCI), and gets them
// from there: operators whole modules, with their signatures; nodes files, by the
// digest that was signed.
package registry
