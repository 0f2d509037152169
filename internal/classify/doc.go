// Package classify moves processes into control groups by rules of cgrules.conf's
// meaning: it reads the rules ([Parse]), has them as the entries of a map of the
// module classify ([Rules.Entries]), which decides, and does what it has decided
// ([Mover]).
package classify
