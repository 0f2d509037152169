// Package sys holds the system calls that golang.org/x/sys does not wrap in
// the form needed here, and with them all use of unsafe in the module.
package sys
