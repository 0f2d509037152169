// Package html writes a timeline: one HTML file that needs no server and no
// network. The script is in page/, as ES modules without a framework. The data
// follow the script in the file, as compressed lines ([Sink]).
//
// A line is a letter, numbers, and sometimes a tab and JSON. Times are in
// microseconds from the first event. The number of a slice (one program of one
// process) is its position among the lines B, and the number of a program its
// position among the lines N, both from 0. -1 means unknown.
//
//	H                               JSON: time, mono_ns, source
//	L lane parent                   a lane, below another one or 0
//	N                               JSON: the path of a program
//	B lane time parent pid name how a slice begins, made by that of a parent;
//	                                how is 0 birth, 1 fork, 2 exec, which goes on
//	                                with the last slice of the lane; JSON: argv,
//	                                cwd, uid ...
//	E slice time user sys rss how   it ends: how is 0 well, 1 failed, 2 exec,
//	                                3 still running; CPU in microseconds, memory
//	                                in bytes; JSON: status, I/O ...
//	T slice from to cpu tid         a thread has ended; JSON: comm
//	I slice time                    an instant; JSON: name, category, args
//	P                               the critical path follows, in place of any before
//	C from to pid                   a step of it
//	F                               JSON: the expression that chooses; only in files
//	M slice                         it was chosen: see [Sink.Choose]
//	W                               JSON: why nothing comes at the moment; only in streams
//	Z                               JSON: why no line follows; only in streams
//	A time                          nothing else happened until then: see [Sink.Advance]
package html
