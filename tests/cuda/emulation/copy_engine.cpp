// The copy engine of Hopper, the barriers that it reports to, and how it sees shared memory.
#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "hopper.h"
#include "tensor_cores.h"

namespace emulation {
namespace {

// Dynamic shared memory begins behind the kernel's __shared__ variables.
constexpr std::uint32_t kDynamicShared = 1024 + 80;

// --- barriers ---

constexpr unsigned kMostArrivals = (1u << 20) - 1;

struct State {
  std::uint64_t arrivals : 20;  // of each phase
  std::uint64_t pending : 20;   // of this phase
  std::uint64_t parity : 1;
  std::uint64_t fenced : 1;  // the copy engine knows of it
  std::int64_t bytes : 22;   // expected and not yet come
};
static_assert(sizeof(State) == 8);

State& state_of(void* barrier, const std::source_location& where) {
  if (reinterpret_cast<std::uintptr_t>(barrier) % 8 != 0)
    fail_block("a barrier lies at a multiple of 8 bytes", where);
  State& state = *static_cast<State*>(barrier);
  // Shared memory begins with all bits set.
  if (state.arrivals == 0 || state.arrivals == kMostArrivals)
    fail_block("this barrier was not initialized", where);
  return state;
}

bool is_over(const void* barrier, unsigned parity) {
  const State& state = *static_cast<const State*>(barrier);
  return static_cast<unsigned>(state.parity) != (parity & 1);
}

void end_phase_if_complete(State& state) {
  if (state.pending > 0 || state.bytes != 0) return;
  state.pending = state.arrivals;
  state.parity = state.parity ^ 1;
}

std::vector<State*> new_barriers;  // since the last fence

// --- the async proxy's view of dynamic shared memory ---

std::vector<unsigned char> view;

unsigned char* dynamic_bytes() { return static_cast<unsigned char*>(dynamic_shared()); }

bool is_dynamic(const void* data, std::size_t bytes) {
  const auto* first = static_cast<const unsigned char*>(data);
  return first >= dynamic_bytes() && first + bytes <= dynamic_bytes() + dynamic_shared_bytes();
}

// What copies bring, threads see too.
void write_chunk(unsigned char* to, const unsigned char* chunk) {
  std::copy_n(chunk, 16, to);
  if (is_dynamic(to, 16)) std::copy_n(chunk, 16, view.data() + (to - dynamic_bytes()));
}

// --- tensor maps ---

struct Map {
  static constexpr std::uint64_t kMagic = 0x7e45;
  std::uint64_t magic;
  unsigned type, rank, swizzle;
  const unsigned char* data;
  std::uint64_t sizes[5], strides[5];  // strides of dimensions 0 to 4; elements are next to another
  unsigned box[5];                     // of images: channels and pixels
  bool of_images;
  // Of images, across and down: the walk's first and last pixel from those of a row, and its step.
  int lower[2], upper[2], step[2];

  int element_bytes() const {
    if (type == CU_TENSOR_MAP_DATA_TYPE_UINT8) return 1;
    return type == CU_TENSOR_MAP_DATA_TYPE_UINT16 ? 2 : 4;
  }
};

CUtensorMap packed(const Map& map) {
  CUtensorMap bits = {};
  bits.opaque[0] = map.magic | std::uint64_t{map.type} << 16 | std::uint64_t{map.rank} << 32 |
                   std::uint64_t{map.swizzle} << 48;
  bits.opaque[1] = reinterpret_cast<std::uintptr_t>(map.data);
  for (int d = 0; d < 5; ++d) bits.opaque[2 + d] = map.sizes[d];
  for (int d = 1; d < 5; ++d) bits.opaque[6 + d] = map.strides[d];
  for (int d = 0; d < 5; ++d) bits.opaque[11 + d / 2] |= std::uint64_t{map.box[d]} << 32 * (d % 2);
  bits.opaque[15] = map.of_images;
  for (int d = 0; d < 2; ++d) {
    bits.opaque[14] |= std::uint64_t{static_cast<std::uint8_t>(map.lower[d])} << 8 * d |
                       std::uint64_t{static_cast<std::uint8_t>(map.upper[d])} << 8 * (d + 2) |
                       std::uint64_t{static_cast<std::uint8_t>(map.step[d])} << 8 * (d + 4);
  }
  return bits;
}

Map unpacked(const CUtensorMap& bits) {
  Map map = {.magic = bits.opaque[0] & 0xffff,
             .type = static_cast<unsigned>(bits.opaque[0] >> 16 & 0xffff),
             .rank = static_cast<unsigned>(bits.opaque[0] >> 32 & 0xffff),
             .swizzle = static_cast<unsigned>(bits.opaque[0] >> 48),
             .data = reinterpret_cast<const unsigned char*>(bits.opaque[1])};
  for (int d = 0; d < 5; ++d) map.sizes[d] = bits.opaque[2 + d];
  map.strides[0] = static_cast<std::uint64_t>(map.element_bytes());
  for (int d = 1; d < 5; ++d) map.strides[d] = bits.opaque[6 + d];
  for (int d = 0; d < 5; ++d)
    map.box[d] = static_cast<unsigned>(bits.opaque[11 + d / 2] >> 32 * (d % 2));
  map.of_images = bits.opaque[15] != 0;
  const auto byte = [&](int number) {
    return static_cast<std::int8_t>(bits.opaque[14] >> 8 * number & 0xff);
  };
  for (int d = 0; d < 2; ++d)
    map.lower[d] = byte(d), map.upper[d] = byte(d + 2), map.step[d] = byte(d + 4);
  return map;
}

// --- copies under way ---

struct Copy {
  unsigned char* to;
  const unsigned char* from = nullptr;  // of a bulk copy
  int bytes;
  void* barrier;
  bool boxed = false;
  Map map = {};
  std::int64_t at[5] = {};
  int shift[2] = {};  // of pixels, across and down
};
std::deque<Copy> under_way;

// One chunk of 16 bytes of a box, its first element at these indices within the map.
void read_chunk(const Map& map, const std::int64_t (&at)[5], unsigned char (&chunk)[16]) {
  const int bytes = map.element_bytes();
  bool inside = true;
  std::uint64_t offset = 0;
  for (unsigned d = 1; d < map.rank; ++d) {
    inside = inside && at[d] >= 0 && static_cast<std::uint64_t>(at[d]) < map.sizes[d];
    offset += static_cast<std::uint64_t>(at[d]) * map.strides[d];
  }
  for (int e = 0; e < 16 / bytes; ++e) {
    unsigned char* element = chunk + e * bytes;
    const std::int64_t along = at[0] + e;
    if (!inside || along < 0 || static_cast<std::uint64_t>(along) >= map.sizes[0]) {
      std::fill_n(element, bytes, static_cast<unsigned char>(0));
      continue;
    }
    std::copy_n(map.data + offset + along * bytes, bytes, element);
    if (map.type != CU_TENSOR_MAP_DATA_TYPE_TFLOAT32) continue;
    unsigned bits;
    std::memcpy(&bits, element, 4);
    bits = to_tf32(bits);
    std::memcpy(element, &bits, 4);
  }
}

void land_box(const Copy& copy) {
  constexpr unsigned kModes[] = {0, 3, 2, 1};  // of descriptors, by those of maps
  const Map& map = copy.map;
  const unsigned of_chunk = 16u / static_cast<unsigned>(map.element_bytes());
  const std::uint32_t first = shared_address(copy.to);
  std::uint32_t offset = 0;
  unsigned index[5] = {};
  for (bool more = true; more;) {
    std::int64_t at[5];
    for (int d = 0; d < 5; ++d) at[d] = copy.at[d] + index[d];
    unsigned char chunk[16];
    read_chunk(map, at, chunk);
    write_chunk(copy.to + (swizzled(first + offset, kModes[map.swizzle]) - first), chunk);
    offset += 16;
    index[0] += of_chunk;
    more = false;
    for (unsigned d = 0; d < map.rank && !more; ++d) {
      more = index[d] < map.box[d];
      if (!more && d + 1 < map.rank) index[d] = 0, ++index[d + 1];
    }
  }
}

// Pixel after pixel: to the right, from the end of a row to the next, from image to image. The walk
// is the same for all shifts, and only what is read moves with them.
void land_pixels(const Copy& copy) {
  const Map& map = copy.map;
  const std::uint32_t first = shared_address(copy.to);
  std::uint32_t offset = 0;
  std::int64_t base[4] = {copy.at[0], copy.at[1], copy.at[2], copy.at[3]};
  for (unsigned pixel = 0; pixel < map.box[1]; ++pixel) {
    for (unsigned channel = 0; channel < map.box[0]; channel += 8, offset += 16) {
      const std::int64_t at[5] = {base[0] + channel, base[1] + copy.shift[0],
                                  base[2] + copy.shift[1], base[3], 0};
      unsigned char chunk[16];
      read_chunk(map, at, chunk);
      write_chunk(copy.to + (swizzled(first + offset, 1) - first), chunk);
    }
    for (int d = 0; d < 3; ++d) {
      base[d + 1] += d < 2 ? map.step[d] : 1;
      if (d == 2 || base[d + 1] < static_cast<std::int64_t>(map.sizes[d + 1]) + map.upper[d]) break;
      base[d + 1] = map.lower[d];
    }
  }
}

void land(const Copy& copy) {
  if (copy.boxed && copy.map.of_images) land_pixels(copy);
  else if (copy.boxed) land_box(copy);
  else
    for (int i = 0; i < copy.bytes; i += 16) write_chunk(copy.to + i, copy.from + i);
  State& state = *static_cast<State*>(copy.barrier);
  state.bytes = state.bytes - copy.bytes;
  end_phase_if_complete(state);
  happens_before(copy.barrier);
}

void begin_copy(const Copy& copy, const std::source_location& where) {
  if (!state_of(copy.barrier, where).fenced)
    fail_block("the copy engine does not know this barrier: fence_async_proxy() is missing", where);
  {
    const Unseen unseen;
    under_way.push_back(copy);
  }
  if (chosen_order() == Order::reverse) land_a_copy();
}

void begin_mapped_copy(const Copy& copy, const std::source_location& where) {
  if (!is_dynamic(copy.to, static_cast<std::size_t>(copy.bytes)))
    fail_block("this box does not fit into dynamic shared memory", where);
  if (shared_address(copy.to) % 128 != 0)
    fail_block("a box goes to a multiple of 128 bytes of shared memory", where);
  begin_copy(copy, where);
}

}  // namespace

std::uint32_t swizzled(std::uint32_t address, unsigned mode) {
  constexpr std::uint32_t kMasks[] = {0, 0x70, 0x30, 0x10};
  return address ^ (address >> 3 & kMasks[mode]);
}

std::uint32_t shared_address(const void* data) {
  const auto offset = static_cast<const unsigned char*>(data) - dynamic_bytes();
  return kDynamicShared + static_cast<std::uint32_t>(offset);
}

unsigned char async_byte(std::uint32_t address, const std::source_location& where) {
  if (address < kDynamicShared || address - kDynamicShared >= view.size())
    fail_block("a product reads past dynamic shared memory", where);
  const std::uint32_t offset = address - kDynamicShared;
  return view[offset] == dynamic_bytes()[offset] ? view[offset] : 0xff;
}

void fence_async_proxy() {
  const Unseen unseen;
  view.assign(dynamic_bytes(), dynamic_bytes() + dynamic_shared_bytes());
  for (State* barrier : new_barriers) barrier->fenced = 1;
  new_barriers.clear();
}

void begin_async_block() {
  const Unseen unseen;
  view.assign(dynamic_shared_bytes(), 0xff);
  under_way.clear();
  new_barriers.clear();
  begin_products();
}

bool copies_are_under_way() { return !under_way.empty(); }

bool land_a_copy() {
  const Unseen unseen;
  if (under_way.empty()) return false;
  const std::size_t number =
      chosen_order() == Order::shuffled ? random_number() % under_way.size() : 0;
  const Copy copy = under_way[number];
  under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(number));
  land(copy);
  return true;
}

void init_barrier(void* barrier, unsigned arrivals, const std::source_location& where) {
  if (arrivals == 0 || arrivals >= kMostArrivals)
    fail_block("a barrier counts 1 to 2^20 - 2 arrivals", where);
  const Unseen unseen;
  State& state = *static_cast<State*>(barrier);
  state.arrivals = state.pending = arrivals;
  state.parity = state.fenced = 0;
  state.bytes = 0;
  new_barriers.push_back(&state);
}

void arrive(void* barrier, const std::source_location& where) {
  State& state = state_of(barrier, where);
  if (state.pending == 0) fail_block("more arrivals than this phase expects", where);
  happens_before(barrier);
  state.pending = state.pending - 1;
  end_phase_if_complete(state);
}

void expect_bytes(void* barrier, int bytes, const std::source_location& where) {
  State& state = state_of(barrier, where);
  if (bytes < 0 || bytes >= 1 << 20) fail_block("a barrier counts less than 2^20 bytes", where);
  state.bytes = state.bytes + bytes;
}

bool has_completed(void* barrier, unsigned parity, const std::source_location& where) {
  const bool completed = is_over(&state_of(barrier, where), parity);
  if (completed) happens_after(barrier);
  return completed;
}

void wait_for_phase(void* barrier, unsigned parity, const std::source_location& where) {
  wait_until("wait_for_phase", is_over, &state_of(barrier, where), parity, where);
  happens_after(barrier);
}

void copy_bulk(void* shared, const void* global, int bytes, void* barrier,
               const std::source_location& where) {
  const auto is_aligned = [](const void* data) {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
  };
  if (!is_aligned(shared) || !is_aligned(global) || bytes <= 0 || bytes % 16 != 0)
    fail_block("a bulk copy is made of 16 bytes at multiples of 16", where);
  begin_copy({.to = static_cast<unsigned char*>(shared),
              .from = static_cast<const unsigned char*>(global),
              .bytes = bytes,
              .barrier = barrier},
             where);
}

void copy_box(void* shared, const CUtensorMap& map, const int* at, int dimensions, void* barrier,
              const std::source_location& where) {
  Copy copy = {.to = static_cast<unsigned char*>(shared),
               .bytes = 0,
               .barrier = barrier,
               .boxed = true,
               .map = unpacked(map)};
  if (copy.map.magic != Map::kMagic || static_cast<int>(copy.map.rank) != dimensions ||
      copy.map.of_images)
    fail_block("this is no tensor map of so many dimensions", where);
  copy.bytes = copy.map.element_bytes();
  for (int d = 0; d < dimensions; ++d) {
    copy.at[d] = at[d];
    copy.bytes *= static_cast<int>(copy.map.box[d]);
  }
  begin_mapped_copy(copy, where);
}

void copy_pixels(void* shared, const CUtensorMap& map, const int* at, int across, int down,
                 void* barrier, const std::source_location& where) {
  Copy copy = {.to = static_cast<unsigned char*>(shared),
               .bytes = 0,
               .barrier = barrier,
               .boxed = true,
               .map = unpacked(map),
               .shift = {across, down}};
  const Map& m = copy.map;
  if (m.magic != Map::kMagic || !m.of_images) fail_block("this is no map of images", where);
  if (across < 0 || across > 255 || down < 0 || down > 255)
    fail_block("pixels are shifted by 0 to 255", where);
  for (int d = 0; d < 4; ++d) copy.at[d] = at[d];
  for (int d = 0; d < 2; ++d) {
    const std::int64_t walked = copy.at[d + 1] - m.lower[d];
    if (walked < 0 || walked % m.step[d] != 0 ||
        copy.at[d + 1] >= static_cast<std::int64_t>(m.sizes[d + 1]) + m.upper[d])
      fail_block("a copy begins at a pixel that the map's walk does not pass", where);
  }
  copy.bytes = m.element_bytes() * static_cast<int>(m.box[0] * m.box[1]);
  begin_mapped_copy(copy, where);
}

}  // namespace emulation

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank,
                                void* data, const cuuint64_t* sizes, const cuuint64_t* strides,
                                const cuuint32_t* box, const cuuint32_t* steps,
                                CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  if (rank < 1 || rank > 5 || reinterpret_cast<std::uintptr_t>(data) % 16 != 0)
    return CUDA_ERROR_INVALID_VALUE;
  emulation::Map made = {.magic = emulation::Map::kMagic,
                         .type = static_cast<unsigned>(type),
                         .rank = rank,
                         .swizzle = static_cast<unsigned>(swizzle),
                         .data = static_cast<const unsigned char*>(data)};
  for (cuuint32_t d = 0; d < rank; ++d) {
    if (sizes[d] == 0 || sizes[d] > std::uint64_t{1} << 32 || box[d] == 0 || box[d] > 256 ||
        steps[d] != 1)
      return CUDA_ERROR_INVALID_VALUE;
    made.sizes[d] = sizes[d];
    made.box[d] = box[d];
    if (d == 0) continue;
    if (strides[d - 1] % 16 != 0 || strides[d - 1] >= std::uint64_t{1} << 40)
      return CUDA_ERROR_INVALID_VALUE;
    made.strides[d] = strides[d - 1];
  }
  // With chunks exchanged, rows may be shorter than the pattern on a card; nothing here needs that.
  constexpr unsigned kRowBytes[] = {0, 32, 64, 128};
  const unsigned row = box[0] * static_cast<unsigned>(made.element_bytes());
  if (row % 16 != 0 || (swizzle != 0 && row != kRowBytes[swizzle])) return CUDA_ERROR_INVALID_VALUE;
  *map = emulation::packed(made);
  return CUDA_SUCCESS;
}

CUresult cuTensorMapEncodeIm2col(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank,
                                 void* data, const cuuint64_t* sizes, const cuuint64_t* strides,
                                 const int* lower_corner, const int* upper_corner,
                                 cuuint32_t channels, cuuint32_t pixels, const cuuint32_t* steps,
                                 CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                                 CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  // What the kernels use of it: halves, rows of 128 bytes with chunks exchanged.
  if (rank != 4 || reinterpret_cast<std::uintptr_t>(data) % 16 != 0 || channels != 64 ||
      pixels == 0 || pixels > 1024 || type != CU_TENSOR_MAP_DATA_TYPE_UINT16 ||
      swizzle != CU_TENSOR_MAP_SWIZZLE_128B)
    return CUDA_ERROR_INVALID_VALUE;
  emulation::Map made = {.magic = emulation::Map::kMagic,
                         .type = static_cast<unsigned>(type),
                         .rank = rank,
                         .swizzle = static_cast<unsigned>(swizzle),
                         .data = static_cast<const unsigned char*>(data),
                         .box = {channels, pixels},
                         .of_images = true};
  for (cuuint32_t d = 0; d < rank; ++d) {
    if (sizes[d] == 0 || sizes[d] > std::uint64_t{1} << 32) return CUDA_ERROR_INVALID_VALUE;
    made.sizes[d] = sizes[d];
    if (d == 0) continue;
    if (strides[d - 1] % 16 != 0 || strides[d - 1] >= std::uint64_t{1} << 40)
      return CUDA_ERROR_INVALID_VALUE;
    made.strides[d] = strides[d - 1];
  }
  for (int d = 0; d < 2; ++d) {
    const auto is_corner = [](int offset) { return offset >= -128 && offset <= 127; };
    if (!is_corner(lower_corner[d]) || !is_corner(upper_corner[d]) || steps[d + 1] < 1 ||
        steps[d + 1] > 8 ||
        static_cast<std::int64_t>(sizes[d + 1]) + upper_corner[d] <= lower_corner[d])
      return CUDA_ERROR_INVALID_VALUE;
    made.lower[d] = lower_corner[d];
    made.upper[d] = upper_corner[d];
    made.step[d] = static_cast<int>(steps[d + 1]);
  }
  *map = emulation::packed(made);
  return CUDA_SUCCESS;
}
