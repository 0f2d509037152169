// Package fleet is what the hub of a fleet, its nodes and its operators have in
// common: who may what, what is signed, and what is said between them.
//
// A hub (taskwatch-hub, a Go module of its own) has a NATS server. Nodes and
// operators are its clients; each has a key, and may use only the subjects of
// its role: see [Role.Permissions]. Everything that is stored is stored by the
// hub. docs/fleet.md describes it for people.
package fleet
