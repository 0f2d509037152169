// Package classify moves processes into control groups by rules of cgrules.conf's
// meaning: it reads the rules ([Parse]), has them as the entries of a map of the
// module classify ([Rules.Entries]), which decides, and does what it has decided
// ([Mover]). Where the module stops processes until they are moved, a second process
// sees to it that none stays stopped ([Guard]).
package classify
