#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Makes the installed static library out of the internal one: one relocatable object whose hidden symbols
# are local, so that none of them can meet a namesake of the embedder's.
#
#     archive.sh INTERNAL.a OUTPUT.a SCRATCH-DIRECTORY COMPILER...
set -eu

internal=$1
output=$2
scratch=$3
shift 3

mkdir -p "$scratch"
# Link-time optimisation ends here: what the embedder links is machine code.
case $("$@" --version | head -n 1) in
*clang*) lto= ;;
*) lto=-flinker-output=nolto-rel ;;
esac
"$@" -r -nostdlib $lto -o "$scratch/vionic.o" -Wl,--whole-archive "$internal"
objcopy --localize-hidden "$scratch/vionic.o"
rm -f "$output"
ar rcs "$output" "$scratch/vionic.o"
