// Grid sampling on every instruction set against the definition in double precision; gradients
// against central differences of it.
#include "ops/grid_sample.h"

#include "kernel_testing.h"

#include <limits>

namespace tilegrad {
namespace {

struct Rule {
  int ndim;
  GridMode mode;
  GridPadding padding;
  bool align_corners;
};

struct Sizes {
  std::int64_t batch, channels, points, depth, height, width;
  std::int64_t plane() const { return depth * height * width; }
};
const Sizes kImages[] = {{1, 1, 1, 1, 1, 1}, {2, 3, 65, 1, 4, 7}, {1, 17, 200, 1, 6, 5}};
const Sizes kVolumes[] = {{1, 1, 3, 1, 1, 1}, {2, 9, 130, 3, 4, 5}};

template <class Visit>
void for_each_rule(int ndim, const Visit& visit) {
  for (GridMode mode : {GridMode::linear, GridMode::nearest, GridMode::cubic})
    for (GridPadding padding : {GridPadding::zeros, GridPadding::border, GridPadding::reflection})
      for (bool align_corners : {false, true})
        if (ndim == 2 || mode != GridMode::cubic) {
          SCOPED_TRACE(testing::Message()
                       << ndim << "-d, mode " << static_cast<int>(mode) << ", padding "
                       << static_cast<int>(padding) << ", align " << align_corners);
          visit(Rule{ndim, mode, padding, align_corners});
        }
}

double placed(const Rule& rule, double coordinate, double size) {
  return rule.align_corners ? (coordinate + 1) / 2 * (size - 1) : ((coordinate + 1) * size - 1) / 2;
}

// Mirrors one end after the other until the position lies between them.
double padded(const Rule& rule, double at, double size) {
  if (rule.padding == GridPadding::zeros) return at;
  if (rule.padding == GridPadding::reflection) {
    const double low = rule.align_corners ? 0 : -0.5, high = size - 1 - low;
    if (low == high) return 0;
    while (at < low || at > high) at = at < low ? 2 * low - at : 2 * high - at;
  }
  return std::min(std::max(at, 0.0), size - 1);
}

double keys(double distance) {
  const double x = std::abs(distance), a = -0.75;
  if (x >= 2) return 0;
  return x <= 1 ? (a + 2) * x * x * x - (a + 3) * x * x + 1
                : a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a;
}

// weights[i] = the share of element i of an axis.
std::vector<double> shares(const Rule& rule, double coordinate, std::int64_t size) {
  std::vector<double> weights(static_cast<std::size_t>(size));
  const auto add = [&](double at, double weight) {
    if (at >= 0 && at < static_cast<double>(size)) weights[static_cast<std::size_t>(at)] += weight;
  };
  const auto length = static_cast<double>(size);
  double at = placed(rule, coordinate, length);
  if (rule.mode == GridMode::cubic) {
    for (int k = -1; k <= 2; ++k) {
      const double tap = std::floor(at) + k;
      add(padded(rule, tap, length), keys(at - tap));
    }
    return weights;
  }
  at = padded(rule, at, length);
  if (rule.mode == GridMode::nearest) {
    add(std::nearbyint(at), 1);
    return weights;
  }
  add(std::floor(at), 1 - (at - std::floor(at)));
  add(std::floor(at) + 1, at - std::floor(at));
  return weights;
}

// The weights of all elements of a plane for the point with these coordinates (x, y, z).
std::vector<double> plane_shares(const Rule& rule, const Sizes& s, const double* point) {
  const std::vector<double> x = shares(rule, point[0], s.width),
                            y = shares(rule, point[1], s.height),
                            z = rule.ndim == 3 ? shares(rule, point[2], s.depth)
                                               : std::vector<double>{1};
  std::vector<double> result;
  for (double c : z)
    for (double b : y)
      for (double a : x) result.push_back(a * b * c);
  return result;
}

template <class T>
struct Case {
  Case(const Rule& r, const Sizes& s)
      : rule(r),
        sizes(s),
        x(Array<T>::random(s.batch * s.channels * s.plane(), 1)),
        grid(Array<T>::random(s.batch * s.points * r.ndim, 2)),
        grad(Array<T>::random(s.batch * s.channels * s.points, 3)),
        y(grad.size),
        grad_x(x.size),
        grad_grid(grid.size) {
    for (std::int64_t i = 0; i < grid.size; ++i) grid[i] *= T{2.5};  // some lie far outside
    for (std::int64_t p = 0; p < s.batch * s.points; ++p) expect_point(p);
  }

  double value(std::int64_t plane, const std::vector<double>& weights) const {
    double sum = 0;
    for (std::int64_t i = 0; i < sizes.plane(); ++i)
      sum +=
          weights[static_cast<std::size_t>(i)] * static_cast<double>(x[plane * sizes.plane() + i]);
    return sum;
  }

  void expect_point(std::int64_t p) {
    const std::int64_t n = p / sizes.points, at = p % sizes.points;
    double point[3] = {};
    for (int d = 0; d < rule.ndim; ++d) point[d] = static_cast<double>(grid[p * rule.ndim + d]);
    const std::vector<double> weights = plane_shares(rule, sizes, point);
    for (std::int64_t c = n * sizes.channels; c < (n + 1) * sizes.channels; ++c) {
      y[c * sizes.points + at] = value(c, weights);
      for (std::int64_t i = 0; i < sizes.plane(); ++i)
        grad_x[c * sizes.plane() + i] +=
            weights[static_cast<std::size_t>(i)] * static_cast<double>(grad[c * sizes.points + at]);
    }
    constexpr double h = 1e-6;
    for (int d = 0; d < rule.ndim; ++d) {
      double above[3] = {point[0], point[1], point[2]}, below[3] = {point[0], point[1], point[2]};
      above[d] += h;
      below[d] -= h;
      const std::vector<double> up = plane_shares(rule, sizes, above),
                                down = plane_shares(rule, sizes, below);
      for (std::int64_t c = n * sizes.channels; c < (n + 1) * sizes.channels; ++c)
        grad_grid[p * rule.ndim + d] += (value(c, up) - value(c, down)) / (2 * h) *
                                        static_cast<double>(grad[c * sizes.points + at]);
    }
  }

  GridSample args() const {
    return {.dtype = DTypeOf<T>::value,
            .ndim = rule.ndim,
            .mode = rule.mode,
            .padding = rule.padding,
            .align_corners = rule.align_corners,
            .batch = sizes.batch,
            .channels = sizes.channels,
            .points = sizes.points,
            .in = {sizes.depth, sizes.height, sizes.width},
            .x = x.values.get(),
            .grid = grid.values.get(),
            .grad_y = grad.values.get()};
  }

  void run(Isa isa, double tolerance) const {
    Array<T> out(y.size), gx(x.size), gg(grid.size);
    GridSample a = args();
    a.y = out.data();
    run_on(isa, grid_sample_kernel, a);
    expect_close(out, y, y.size, tolerance, tolerance);
    a.grad_x = gx.data();
    a.grad_grid = gg.data();
    run_on(isa, grid_sample_backward_kernel, a);
    expect_close(gx, grad_x, x.size, 10 * tolerance, 10 * tolerance);
    const double steps = std::max(tolerance, 1e-7);  // of the differences
    if (rule.mode != GridMode::nearest)
      expect_close(gg, grad_grid, grid.size, 100 * steps, 100 * steps);
    else
      for (std::int64_t i = 0; i < gg.size; ++i) ASSERT_EQ(gg[i], T{0});
  }

  Rule rule;
  Sizes sizes;
  Array<T> x, grid, grad;
  Array<double> y, grad_x, grad_grid;
};

TEST(GridSample, AgreesWithTheDefinition) {
  for (int ndim : {2, 3})
    for_each_rule(ndim, [&](const Rule& rule) {
      const auto check = [&](const Sizes& s) {
        const Case<double> doubles(rule, s);
        const Case<float> floats(rule, s);
        for_each_isa([&](Isa isa) {
          doubles.run(isa, 1e-12);
          floats.run(isa, 1e-5);
        });
      };
      if (ndim == 2)
        for (const Sizes& s : kImages) check(s);
      else
        for (const Sizes& s : kVolumes) check(s);
    });
}

TEST(GridSample, SkipsWhatLiesOutside) {
  const float infinite = std::numeric_limits<float>::infinity();
  Array<float> x(1, infinite), grid(4), y(2, 1.0f);
  grid[0] = -3, grid[2] = std::nanf("");
  const GridSample args{.dtype = DType::float32,
                        .ndim = 2,
                        .mode = GridMode::linear,
                        .padding = GridPadding::zeros,
                        .align_corners = false,
                        .batch = 1,
                        .channels = 1,
                        .points = 2,
                        .in = {1, 1, 1},
                        .x = x.data(),
                        .grid = grid.data(),
                        .y = y.data()};
  for_each_isa([&](Isa isa) {
    run_on(isa, grid_sample_kernel, args);
    EXPECT_EQ(y[0], 0);
    EXPECT_EQ(y[1], 0);
  });
}

TEST(GridSample, IsTheSameForEveryNumberOfThreads) {
  const Case<float> given({2, GridMode::cubic, GridPadding::reflection, false},
                          {3, 20, 700, 1, 9, 8});
  for_each_isa([&](Isa isa) {
    Array<float> first_x(1), first_grid(1);
    bool known = false;
    for_each_thread_count([&] {
      Array<float> gx(given.x.size), gg(given.grid.size);
      GridSample args = given.args();
      args.grad_x = gx.data();
      args.grad_grid = gg.data();
      run_on(isa, grid_sample_backward_kernel, args);
      if (known) EXPECT_TRUE(gx == first_x && gg == first_grid);
      else {
        std::swap(gx, first_x);
        std::swap(gg, first_grid);
      }
      known = true;
    });
  });
}

}  // namespace
}  // namespace tilegrad
