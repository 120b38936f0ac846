// The gradient of the filters by Winograd's transforms: see winograd.h and winograd_pass.h.
#pragma once

#include "winograd_pass.h"

namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE {

// A task takes one group, one share of its filters and one part of the chunks. It sums, per point,
// the products of transformed inputs and transformed output gradients over the tiles of its part.
struct WinogradGradWeight {
  Pass p;
  Scheme scheme;
  Images<const float> x, grad;
  Tiles tiles;
  Int parts, shares;
  float *sums, *weight;

  Int first_filter(Int share) const { return p.out_channels * share / shares; }
  Int filters(Int share) const { return first_filter(share + 1) - first_filter(share); }
  // The longest row of a matrix of sums, and the elements of a task's matrices.
  Int row_size() const { return round_up((p.out_channels + shares - 1) / shares, kLaneCount); }
  Int matrix() const { return round_up(p.in_channels, kTileRows) * row_size(); }
  float* sums_of(Int group, Int share, Int part) const {
    return sums + ((group * shares + share) * parts + part) * sums_size();
  }
  Int sums_size() const { return kSquare * matrix(); }

  // Elements between the matrices of two points.
  Int input_matrix() const { return tiles.most() * p.in_channels + kGap; }
  Int grad_matrix() const { return tiles.most() * row_size() + kGap; }

  // Room that add_part and write_share need.
  Int memory_size() const {
    const Int add =
        kSquare * (input_matrix() + grad_matrix()) + kTileRows + chunk_pixels(tiles, scheme);
    return std::max(add, (p.in_channels * p.y.taps * p.x.taps + kSquare) * kLaneCount);
  }

  void add_part(Int group, Int share, Int part, float* to, float* inputs) const {
    float* grads = inputs + kSquare * input_matrix() + kTileRows;
    float* buffer = grads + kSquare * grad_matrix();
    const Int begin = tiles.chunks() * part / parts, end = tiles.chunks() * (part + 1) / parts;
    for (Int index = begin; index < end; ++index) {
      const Chunk chunk = tiles.at(index);
      transform_chunk(x, tiles, chunk, group * p.in_channels, p.in_channels, scheme.in_step,
                      scheme.in_size, p.y.pad, p.x.pad, p.in_channels, inputs, buffer,
                      [&](const Pixels<const float>& tile, float* at) {
                        scheme.transform_input(tile, at, input_matrix());
                      });
      const auto evaluate_tile = tiles.outputs == 4 ? transform_pixels<Evaluate<4, false>>
                                                    : transform_pixels<Evaluate<2, false>>;
      transform_chunk(grad, tiles, chunk, group * p.out_channels + first_filter(share),
                      filters(share), tiles.outputs, tiles.outputs, 0, 0, row_size(), grads, buffer,
                      [&](const Pixels<const float>& tile, float* at) {
                        evaluate_tile(tile, at, grad_matrix());
                      });
      for (int point = 0; point < kSquare; ++point)
        add_products(chunk.tiles(), inputs + point * input_matrix(), grads + point * grad_matrix(),
                     to + point * matrix(), index > begin);
    }
  }

  // to, (in_channels, filters), (+)= inputs^T @ grads, both (tiles, channels).
  void add_products(Int count, const float* inputs, const float* grads, float* to,
                    bool accumulate) const {
    const Int row = row_size(), channels = p.in_channels;
    for (Int j = 0; j < row; j += 2 * kLaneCount)
      for_each_row_tile(channels, [&](auto rows, Int i) {
        const auto multiply = row - j > kLaneCount ? multiply_tile<rows(), 2, float>
                                                   : multiply_tile<rows(), 1, float>;
        multiply(count, inputs + i, channels, grads + j, row, to + i * row + j, row, accumulate);
      });
  }

  // Adds the parts up in order and transforms the sums to the gradient of a share of the filters;
  // false if a result is infinite or NaN.
  template <int r>
  bool write_share(Int group, Int share, const float* parts_of_share, float* taps) const {
    const Int channels = p.in_channels, count = channels * r * r;
    float* sum = taps + count * kLaneCount;
    bool valid = true;
    for (Int block = 0; block * kLaneCount < filters(share); ++block) {
      const Int filter = block_start<float>(block, filters(share));
      for (Int c = 0; c < channels; ++c) {
        for (int point = 0; point < kSquare; ++point) {
          const float* from = parts_of_share + point * matrix() + c * row_size() + filter;
          Vec<float> total = load(from);
          for (Int part = 1; part < parts; ++part) total += load(from + part * sums_size());
          store(sum + point * kLaneCount, total);
        }
        transform_to_pixels<Interpolate<r, true>>(
            sum, kLaneCount, Vec<float>{},
            {taps + c * r * r * kLaneCount, r * kLaneCount, kLaneCount});
      }
      valid = valid && !any_invalid(taps, kLaneCount, count);
      scatter_lanes(taps, count, count,
                    weight + (group * p.out_channels + first_filter(share) + filter) * count);
    }
    return valid;
  }
};

// The gradient of the filters, (groups * out_channels, in_channels, r, r); false if one is infinite
// or NaN. `sums` holds what Conv2d::workspace_of_grad_weight says.
static bool winograd_grad_weight(const Pass& p, const Scheme& scheme, const Images<const float>& x,
                                 const Images<const float>& grad, Int parts, Int shares,
                                 float* sums, float* weight) {
  const Int channels = p.in_channels + p.out_channels / shares;
  const Tiles tiles(p, scheme, chunk_tiles(channels));
  const WinogradGradWeight pass{p, scheme, x, grad, tiles, parts, shares, sums, weight};
  const auto write =
      p.y.taps == 3 ? &WinogradGradWeight::write_share<3> : &WinogradGradWeight::write_share<5>;
  const auto scratch = [](Int elements) {
    return static_cast<float*>(thread_scratch(static_cast<std::size_t>(elements) * sizeof(float)));
  };
  bool invalid = false;
  if (parts > 1)
    parallel_for(p.groups * shares * parts, 1, [&](Int begin, Int end) {
      for (Int task = begin; task < end; ++task) {
        const Int group = task / parts / shares, share = task / parts % shares, part = task % parts;
        pass.add_part(group, share, part, pass.sums_of(group, share, part),
                      scratch(pass.memory_size()));
      }
    });
  parallel_for(p.groups * shares, 1, [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int group = task / shares, share = task % shares;
      float* memory = scratch(pass.memory_size() + (parts > 1 ? 0 : pass.sums_size()));
      float* own = parts > 1 ? pass.sums_of(group, share, 0) : memory + pass.memory_size();
      if (parts == 1) pass.add_part(group, share, 0, own, memory);  // the sums stay in cache
      if (!(pass.*write)(group, share, own, memory))
        __atomic_store_n(&invalid, true, __ATOMIC_RELAXED);
    }
  });
  return !invalid;
}

}  // namespace tilegrad::cpu::TILEGRAD_ISA_NAMESPACE
