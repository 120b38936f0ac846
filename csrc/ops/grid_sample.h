// Contract of grid sampling: images and volumes read at points between their elements.
//
// A point of the grid holds one coordinate per axis, the last axis first (x, y, z); -1 and 1 are
// the two ends of an axis: the centres of its outermost elements with align_corners, else their
// outer edges.
#pragma once

#include "../dtype.h"
#include "../kernel.h"
#include "../strided.h"

namespace tilegrad {

enum class GridMode : std::uint8_t { linear, nearest, cubic };        // in PyTorch's order
enum class GridPadding : std::uint8_t { zeros, border, reflection };  // what lies outside

// One struct serves both kernels. All arrays are contiguous and of one dtype.
struct GridSample {
  DType dtype;  // float32 or float64
  int ndim;     // 2 or 3; an image is a volume of depth 1
  GridMode mode;
  GridPadding padding;
  bool align_corners;
  std::int64_t batch, channels, points;  // points: of each sample
  std::int64_t in[3];                    // depth, height, width; at least 1, the product below 2^31
  const void* x = nullptr;               // (batch, channels, *in)
  const void* grid = nullptr;            // (batch, points, ndim)
  void* y = nullptr;                     // (batch, channels, points)

  // grid_sample_backward; either result may be null if it is not wanted.
  const void* grad_y = nullptr;
  void* grad_x = nullptr;  // zeros at first
  void* grad_grid = nullptr;
};

}  // namespace tilegrad

TILEGRAD_KERNEL(grid_sample, GridSample)
TILEGRAD_KERNEL(grid_sample_backward, GridSample)
