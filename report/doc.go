// Package report writes events for people: [Text] writes a line for each event,
// [Summary] a table at the end.
//
// Nothing that a watched program chooses - its name, arguments, paths -
// reaches the output unescaped, so that no program can send commands to the
// terminal of the user.
package report
