#!/bin/sh -e
# Makes config.h by way of a pipe and a temporary file.
sed -e "s/@NAME@/$2/" "$1" | cat >config.tmp
mv config.tmp config.h
