//go:build !race

package taskwatch

const raceEnabled = false
