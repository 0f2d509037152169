package doctor

// The object is committed: building taskwatch needs no clang.
//
//go:generate go run ../module/build/cmd/modbuild -o . c/doctor.c
