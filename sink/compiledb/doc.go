// Package compiledb writes a JSON compilation database, compile_commands.json,
// from the programs that a build ran. It is a sink of items, so it works with
// live events and with recordings, and preloads nothing into the build.
//
// Each source of each call of a known compiler gets an entry, by the rules that
// Bear documents:
//
//   - Only the outermost compiler counts, not what it runs: cc1, as, or the
//     compiler behind a cache.
//   - Launchers are left out of the arguments: ccache, distcc, sccache, icecc,
//     whether they are named or linked under the compiler's name.
//   - Other sources of the same call, objects, and what is for the linker or
//     for make are left out of the arguments. A call that also links gets -c.
//   - What only preprocesses, links, or asks the compiler about itself is left
//     out, and so is a call that failed, unless it is asked for.
//   - Of entries with the same file and output, the first one stays. Sources
//     that are gone at the end are left out: configure scripts make such.
//
// A call whose arguments are not complete never becomes an entry. [Sink.Notes]
// says what was left out.
package compiledb
