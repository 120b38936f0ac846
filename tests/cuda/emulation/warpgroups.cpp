// Products of a warpgroup: what each lane holds of them, and when they read shared memory.
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "hopper.h"

namespace emulation {
namespace {

struct Product {
  Operand x, other;
  float* sum;
  int columns, element_bytes;
  ValueOfBits value;
  std::source_location where;
};

// The registers of one sum, while products have them and after.
struct Sums {
  std::vector<float> values;
  std::vector<float> left_behind;  // in the registers, when products had them last
  int in_flight = 0;
};

struct Thread {
  std::vector<Product> open;
  std::deque<std::vector<Product>> groups;
  std::map<float*, Sums> sums;
  bool fenced = false;  // since the last wait
  std::uint64_t waits = 0;
};
std::uint64_t blocks = 0;    // so far
std::deque<Thread> threads;  // those that have joined in; they do not move

unsigned own_number() {
  return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}
Thread& own() {
  if (threads.size() <= own_number()) threads.resize(own_number() + 1);
  return threads[own_number()];
}

// Noise until the products are waited for.
void take_registers(Sums& sums, float* registers, std::size_t count) {
  sums.left_behind.resize(count);
  std::memset(sums.left_behind.data(), 0xff, count * sizeof(float));
  std::memcpy(registers, sums.left_behind.data(), count * sizeof(float));
}

// --- descriptors ---

constexpr unsigned field(std::uint64_t descriptor, int bit) {
  return static_cast<unsigned>(descriptor >> bit & 0x3fff) << 4;
}

// The bits of an element, from where the descriptor says that it lies.
unsigned element(const Operand& operand, int bytes, unsigned outer, unsigned inner,
                 const std::source_location& where) {
  const std::uint64_t descriptor = operand.descriptor;
  const unsigned start = field(descriptor, 0), leading = field(descriptor, 16),
                 stride = field(descriptor, 32);
  const auto mode = static_cast<unsigned>(descriptor >> 62);
  constexpr unsigned kRowBytes[] = {16, 128, 64, 32};
  const unsigned row = kRowBytes[mode], size = static_cast<unsigned>(bytes);
  unsigned offset = 0;
  if (!operand.transposed) {  // groups of eight rows, in each the inner dimension along the row
    const unsigned along = inner * size;
    offset = outer / 8 * stride + outer % 8 * row;
    offset += mode == 0 ? along / 16 * leading + along % 16 : along;
  } else {  // groups of eight of the inner dimension, in each the outer dimension along the row
    const unsigned along = outer * size;
    offset = inner % 8 * row + along % row;
    offset += mode == 0 ? along / row * stride + inner / 8 * leading
                        : along / row * leading + inner / 8 * stride;
  }
  const std::uint32_t address = swizzled(start + offset, mode);
  unsigned bits = 0;
  for (unsigned i = 0; i < size; ++i) bits |= unsigned{async_byte(address + i, where)} << 8 * i;
  return bits;
}

void check_descriptor(const Operand& operand, const std::source_location& where) {
  constexpr std::uint64_t kUnused = 0x3ff1c000c000c000;
  if ((operand.descriptor & kUnused) != 0)
    fail_block("a descriptor has bits between its fields", where);
  if ((operand.descriptor >> 49 & 7) != 0)
    fail_block("the emulation knows descriptors without a base offset only", where);
  constexpr unsigned kPatternRows[] = {1, 8, 4, 2};  // of 128 bytes
  if (field(operand.descriptor, 0) / 128 % kPatternRows[operand.descriptor >> 62] != 0)
    fail_block("without a base offset, chunks are exchanged from a round address on", where);
}

// All numbers of an operand, by rows of its outer dimension. The lanes of a warp, between whose
// turns nobody else has one, find it decoded.
const std::vector<double>& decoded(const Product& product, const Operand& operand, int outers) {
  using Key = std::tuple<std::uint64_t, bool, int, ValueOfBits>;
  static std::map<Key, std::vector<double>> known;
  static std::array<std::uint64_t, 3> wait_before;
  const std::array<std::uint64_t, 3> wait = {blocks, threadIdx.x / 32, own().waits};
  if (wait_before != wait) known.clear();
  wait_before = wait;
  std::vector<double>& values =
      known[{operand.descriptor, operand.transposed, outers, product.value}];
  if (!values.empty()) return values;
  const unsigned inner = 32u / static_cast<unsigned>(product.element_bytes);
  for (unsigned outer = 0; outer < static_cast<unsigned>(outers); ++outer)
    for (unsigned k = 0; k < inner; ++k)
      values.push_back(
          product.value(element(operand, product.element_bytes, outer, k, product.where)));
  return values;
}

// The part of this lane.
void multiply(const Product& product, std::vector<float>& sums) {
  const unsigned inner = 32u / static_cast<unsigned>(product.element_bytes);
  const double* rows =
      decoded(product, product.x, 64).data() + (threadIdx.x / 32 % 4 * 16 + lane() / 4) * inner;
  const double* columns =
      decoded(product, product.other, product.columns).data() + lane() % 4 * 2 * inner;
  for (unsigned j = 0; j < static_cast<unsigned>(product.columns) / 8; ++j)
    for (unsigned i = 0; i < 4; ++i) {
      const double* row = rows + i / 2 * 8 * inner;
      const double* column = columns + (8 * j + i % 2) * inner;
      double total = sums[4 * j + i];
      for (unsigned k = 0; k < inner; ++k) total += row[k] * column[k];
      sums[4 * j + i] = static_cast<float>(total);
    }
}

// Multiplies all groups but the last `pending`, for this lane.
void finish_groups(std::size_t pending) {
  const Unseen unseen;
  Thread& self = own();
  ++self.waits;
  while (self.groups.size() > pending) {
    for (const Product& product : self.groups.front()) {
      Sums& sums = self.sums[product.sum];
      multiply(product, sums.values);
      if (--sums.in_flight > 0) continue;
      sums.left_behind = sums.values;
      std::memcpy(product.sum, sums.values.data(), sums.values.size() * sizeof(float));
    }
    self.groups.pop_front();
  }
  self.fenced = false;
}

}  // namespace

void begin_products() {
  ++blocks;
  threads.clear();
}

void fence_products() {
  const Unseen unseen;
  own().fenced = true;
}

void multiply_tiles(const Operand& x, const Operand& other, float* sum, int columns,
                    int element_bytes, ValueOfBits value, const std::source_location& where) {
  if (blockDim.y != 1 || blockDim.z != 1 || blockDim.x < threadIdx.x / 128 * 128 + 128)
    fail_block("a warpgroup is four whole warps of a row of threads", where);
  for (const Operand* operand : {&x, &other}) {
    check_descriptor(*operand, where);
    const Gathered& all = wait_for_lanes("wgmma", 0xffffffffu, operand->descriptor, where);
    for (std::uint64_t descriptor : all.values)
      if (descriptor != operand->descriptor)
        fail_block("the lanes of a warp have different descriptors", where);
  }
  const Unseen unseen;
  const auto count = static_cast<std::size_t>(columns) / 2;
  Sums& sums = own().sums[sum];
  const bool touched = sums.left_behind.size() != count ||
                       std::memcmp(sum, sums.left_behind.data(), count * sizeof(float)) != 0;
  if (touched) {  // by something else than products
    sums.values.assign(sum, sum + count);
    if (!own().fenced || sums.in_flight > 0)
      std::memset(sums.values.data(), 0xff, count * sizeof(float));
  }
  take_registers(sums, sum, count);
  ++sums.in_flight;
  own().open.push_back({x, other, sum, columns, element_bytes, value, where});
}

void commit_products() {
  const Unseen unseen;
  own().groups.push_back(std::move(own().open));
  own().open.clear();
}

void wait_for_products(int pending, const std::source_location& where) {
  wait_for_lanes("wait_for_products", 0xffffffffu, 0, where);  // all have issued theirs
  finish_groups(static_cast<std::size_t>(pending));
  wait_for_lanes("wait_for_products", 0xffffffffu, 1, where);  // the warp's operands are read
}

}  // namespace emulation
