// Package table lays out text for terminals: how many columns it takes, lines that
// are cut at a width, words in lines, and tables.
package table
