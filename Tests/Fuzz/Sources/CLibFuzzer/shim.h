// libFuzzer's own entry (compiler-rt, FuzzerInterface.h), for a program that brings its own main.
#pragma once
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*one_input)(const uint8_t *bytes, size_t count));
