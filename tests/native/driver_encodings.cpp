// Panel products of every tier against plain loops, and encodings alone against
// with threads.

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "core/dispatch.h"
#include "core/thread_pool.h"
#include "driver.h"
#include "kernels/panel_product.h"
#include "multivector/fde.h"
#include "multivector/learned_cells.h"
#include "multivector/pooling.h"

using namespace nearfield;
using namespace nearfield::multivector;

namespace {

std::vector<float> random_values(std::size_t count, std::mt19937 &random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

void compare_products(const KernelTable &tier, std::size_t rows,
                      std::size_t columns, std::size_t depth,
                      std::mt19937 &random) {
  const std::vector<float> left = random_values(rows * depth, random);
  const std::vector<float> right = random_values(columns * depth, random);
  const Panels panels(right.data(), columns, depth);
  std::vector<float> once(rows * panels.padded_columns());
  panels.multiply(tier, left.data(), rows, once.data());
  std::vector<float> twice = once;
  panels.add_product(tier, left.data(), rows, twice.data());
  bool equal = true;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      double sum = 0.0;
      for (std::size_t i = 0; i < depth; ++i) {
        sum += static_cast<double>(left[r * depth + i]) * right[c * depth + i];
      }
      const std::size_t at = r * panels.padded_columns() + c;
      equal = equal && std::fabs(once[at] - sum) < 1e-3 &&
              std::fabs(twice[at] - 2.0 * sum) < 2e-3;
    }
  }
  check(equal, std::string(tier.isa) + ": panel product " +
                   std::to_string(rows) + " x " + std::to_string(columns) +
                   " x " + std::to_string(depth));
}

void compare_threads(const KernelTable &tier, std::mt19937 &random) {
  constexpr std::size_t kDims = 20, kSets = 300, kCells = 9, kWidth = 21;
  std::vector<std::int64_t> offsets{0}, pooled{0};
  for (std::size_t i = 0; i < kSets; ++i) {
    const auto size = static_cast<std::int64_t>(random() % 50);
    offsets.push_back(offsets.back() + size);
    pooled.push_back(pooled.back() + (size + 2) / 3);
  }
  const std::vector<float> tokens =
      random_values(static_cast<std::size_t>(offsets.back()) * kDims, random);
  const std::vector<float> planes = random_values(2 * 3 * kDims, random);
  const std::vector<float> centres = random_values(kCells * kDims, random);
  const std::vector<float> origin(kWidth, 1.0f);
  const TokenSets sets{tokens.data(), offsets.data(), kSets, kDims};
  const SimHashEncoder encoder(planes.data(), nullptr, kDims, 2, 3, kDims);
  const LearnedCells cells(centres.data(), kCells, kDims, planes.data());
  std::vector<Panels> projection;
  for (std::size_t c = 0; c < kCells; ++c) {
    projection.emplace_back(random_values(kWidth * kDims, random).data(),
                            kWidth, kDims);
  }
  ThreadPool pool(3);
  std::vector<float> found[2];
  for (int threaded = 0; threaded < 2; ++threaded) {
    const Work work{tier, threaded == 1 ? &pool : nullptr, nullptr};
    std::vector<float> encoded(kSets * encoder.width());
    std::vector<float> projected(kSets * kWidth);
    std::vector<float> fewer(static_cast<std::size_t>(pooled.back()) * kDims);
    encoder.encode_documents(work, sets, true, encoded.data());
    cells.encode_documents(work, sets, projection, origin.data(), kWidth,
                           projected.data());
    pool_sets(work, sets, pooled.data(), {1, true}, fewer.data());
    found[threaded] = encoded;
    found[threaded].insert(found[threaded].end(), projected.begin(),
                           projected.end());
    found[threaded].insert(found[threaded].end(), fewer.begin(), fewer.end());
  }
  check(found[0] == found[1],
        std::string(tier.isa) + ": encodings do not depend on threads");
}

} // namespace

void nearfield::check_encodings() {
  std::mt19937 random(5);
  for (const KernelTable *tier : available_tiers()) {
    for (const std::size_t rows : {1, 3, 4, 6, 11, 12, 30}) {
      for (const std::size_t columns : {1, 16, 17, 40}) {
        compare_products(*tier, rows, columns, 1 + (rows * columns) % 37,
                         random);
      }
    }
    compare_threads(*tier, random);
  }
}
