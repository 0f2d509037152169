// Package registry puts modules into registries of containers (OCI), and gets them
// from there. Nodes do not use it: what they run comes from their hub, by the digest
// that was signed.
package registry
