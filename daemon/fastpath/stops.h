/* Where texts may end: the places of every quote, backslash and byte below 32, 64 bytes at a time.
 *
 * A scanner that looks for the end of one text after the other waits for each: load, compare, find the bit, add, load
 * again. Here all 64 bytes are looked at before it is asked where it stands, and a place is one load
 * (docs/decisions/0011-stops.md).
 *
 * Three ways that give the same places, chosen once at import by what the processor has: 32 bytes at a time (AVX2), 16
 * (SSE2, every x86-64), or byte by byte (any other). A property test runs all that the machine has against each other.
 * Whether all is ASCII comes out of the same look, so that a plain event needs no pass of its own for UTF-8.
 *
 * No allocation, no read outside of the bytes that are given: the last block is copied and filled up with spaces. */
#ifndef INGESTD_STOPS_H
#define INGESTD_STOPS_H

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define STOPS_X86 1
#endif

enum {
  STOPS_BLOCK = 64,                     /* bytes that are looked at together: the bits of a word */
  STOPS_WINDOW = 1024,                  /* bytes whose places are kept: most events have no more */
  STOPS_GROUP = 8                       /* places that are written at once, needed or not */
};

/* Finds the stops of `size` bytes, at most STOPS_WINDOW. `places` has room for STOPS_WINDOW + STOPS_GROUP. Gives how
 * many there are. `high` is set when a byte is not ASCII, and otherwise stays. */
typedef int (*find_stops_fn)(const uint8_t *data, int size, uint16_t *places, int *high);

/* The bits of one block as places, STOPS_GROUP at a time, so that the branches need not know how many there are. */
static inline __attribute__((always_inline)) int stops_write(uint64_t bits, int base, uint16_t *places) {
  int count = __builtin_popcountll(bits);
  for (int done = 0; done < count; done += STOPS_GROUP)
    for (int i = 0; i < STOPS_GROUP; i++) {
      places[done + i] = (uint16_t)(base + __builtin_ctzll(bits | (uint64_t)1 << 63));  /* of 0 it is not defined */
      bits &= bits - 1;
    }
  return count;
}

/* One way for every width: `look` gives the bits of a block and those of its bytes that are not ASCII. The last block
 * is filled up with spaces, which are no stops. */
#define STOPS_FIND(look)                                                                                              \
  int count = 0, at = 0;                                                                                              \
  uint64_t not_ascii, all_high = 0;                                                                                   \
  for (; at + STOPS_BLOCK <= size; at += STOPS_BLOCK) {                                                               \
    uint64_t bits = look(data + at, &not_ascii);                                                                      \
    all_high |= not_ascii;                                                                                            \
    count += stops_write(bits, at, places + count);                                                                   \
  }                                                                                                                   \
  if (at < size) {                                                                                                    \
    uint8_t rest[STOPS_BLOCK];                                                                                        \
    memset(rest, ' ', sizeof rest);                                                                                   \
    memcpy(rest, data + at, size - at);                                                                               \
    uint64_t bits = look(rest, &not_ascii);                                                                           \
    all_high |= not_ascii;                                                                                            \
    count += stops_write(bits, at, places + count);                                                                   \
  }                                                                                                                   \
  if (all_high) *high = 1;                                                                                            \
  return count;

/* Any processor. */
static inline uint64_t stops_look_plain(const uint8_t *at, uint64_t *not_ascii) {
  uint64_t bits = 0, high = 0;
  for (int i = 0; i < STOPS_BLOCK; i++) {
    bits |= (uint64_t)(at[i] == '"' || at[i] == '\\' || at[i] < 32) << i;
    high |= (uint64_t)(at[i] >> 7) << i;
  }
  *not_ascii = high;
  return bits;
}
static int find_stops_plain(const uint8_t *data, int size, uint16_t *places, int *high) {
  STOPS_FIND(stops_look_plain)
}

#if STOPS_X86
/* Every x86-64 has SSE2. */
static inline uint64_t stops_look_sse2(const uint8_t *at, uint64_t *not_ascii) {
  uint64_t bits = 0, high = 0;
  for (int i = 0; i < STOPS_BLOCK; i += 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(at + i));
    __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(31)), bytes);
    __m128i stops = _mm_or_si128(_mm_or_si128(quotes, backslashes), controls);
    bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(stops) << i;
    high |= (uint64_t)(uint32_t)_mm_movemask_epi8(bytes) << i;
  }
  *not_ascii = high;
  return bits;
}
static int find_stops_sse2(const uint8_t *data, int size, uint16_t *places, int *high) {
  STOPS_FIND(stops_look_sse2)
}

#define STOPS_AVX2 __attribute__((target("avx2,bmi,popcnt")))
STOPS_AVX2 static inline uint64_t stops_look_avx2(const uint8_t *at, uint64_t *not_ascii) {
  uint64_t bits = 0, high = 0;
  for (int i = 0; i < STOPS_BLOCK; i += 32) {
    __m256i bytes = _mm256_loadu_si256((const __m256i *)(at + i));
    __m256i quotes = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
    __m256i backslashes = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));
    __m256i controls = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(31)), bytes);
    __m256i stops = _mm256_or_si256(_mm256_or_si256(quotes, backslashes), controls);
    bits |= (uint64_t)(uint32_t)_mm256_movemask_epi8(stops) << i;
    high |= (uint64_t)(uint32_t)_mm256_movemask_epi8(bytes) << i;
  }
  *not_ascii = high;
  return bits;
}
STOPS_AVX2 static int find_stops_avx2(const uint8_t *data, int size, uint16_t *places, int *high) {
  STOPS_FIND(stops_look_avx2)
}
#endif

/* The widest that this processor has, or the one that is named: `plain`, `sse2`, `avx2`. NULL: it has none of that name. */
static find_stops_fn choose_find_stops(const char *name) {
#if STOPS_X86
  __builtin_cpu_init();
  int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt");
  if (has_avx2 && (!name || !strcmp(name, "avx2"))) return find_stops_avx2;
  if (!name || !strcmp(name, "sse2")) return find_stops_sse2;
#endif
  if (!name || !strcmp(name, "plain")) return find_stops_plain;
  return NULL;
}

#endif
