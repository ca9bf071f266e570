/* fuzz.h - what a fuzz target is: one function that must survive any bytes.
 *
 * clang links libFuzzer around it; elsewhere replay.c calls it for every file of a corpus. */
#ifndef TR_FUZZ_FUZZ_H
#define TR_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
