// CUDA's small vectors: dim3, uint3, float4 and relatives, with its alignments.
#pragma once

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define EMULATION_VECTORS(T, name, alignment2, alignment4)      \
  struct alignas(alignment2) name##2 { T x, y; };               \
  struct alignas(alignment4) name##4 { T x, y, z, w; };         \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; } \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

EMULATION_VECTORS(float, float, 8, 16)
EMULATION_VECTORS(int, int, 8, 16)
EMULATION_VECTORS(unsigned, uint, 8, 16)
EMULATION_VECTORS(short, short, 4, 8)
EMULATION_VECTORS(unsigned short, ushort, 4, 8)
EMULATION_VECTORS(unsigned char, uchar, 2, 4)
EMULATION_VECTORS(double, double, 16, 16)
EMULATION_VECTORS(long long, longlong, 16, 16)
#undef EMULATION_VECTORS
