// The processor's CRC-32C instruction, which Swift has no intrinsic for. LogStorage chooses at run time
// between this and its own table-driven code; both give the same sum. Nothing else belongs in here.
#pragma once
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)

static inline int portcullis_crc32c_is_available(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sse4.2") != 0;
}

// Continues the raw (not inverted) CRC register `state` over `count` bytes.
// Call it only where portcullis_crc32c_is_available() says so: elsewhere it is an illegal instruction.
__attribute__((target("sse4.2")))
static inline uint32_t portcullis_crc32c_continue(uint32_t state, const void *bytes, size_t count) {
  const unsigned char *next = (const unsigned char *)bytes;
  uint64_t wide = state;
  for (; count >= 8; count -= 8, next += 8) {
    uint64_t word;
    __builtin_memcpy(&word, next, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  uint32_t narrow = (uint32_t)wide;
  for (; count > 0; count -= 1, next += 1) {
    narrow = __builtin_ia32_crc32qi(narrow, *next);
  }
  return narrow;
}

#else

static inline int portcullis_crc32c_is_available(void) { return 0; }

static inline uint32_t portcullis_crc32c_continue(uint32_t state, const void *bytes, size_t count) {
  (void)bytes;
  (void)count;
  return state;
}

#endif
