// A recurrence over a whole sequence, forwards and backwards: one of recurrences.h, or of gated.h, without products.
//
// Compiled once for each instruction set (JRNN_ISA, JRNN_VECTOR_BYTES). Rows of the batch are independent, so they are
// split over threads, without any synchronisation inside the time loop; few rows of many units are taken by several
// threads together, which meet after each step (team.h). A step takes block after block of units: the product over
// [x, h] for all rows, then the gates while the sums are in the cache; there is no array of pre-activations.
// Backwards, the gradients of the weights are taken once a chunk of steps, whose dz is still in the cache: there is no
// [T, B, gates * H] array of dz either. The GRU that resets before the product takes two of them a step: r and z over
// [x, h], then, with r of all units known, n over [x, r h].
#include "backward.h"
#include "forward.h"
#include "gated.h"

#include <unistd.h>

#include <stdexcept>

namespace jrnn {
#if defined(JRNN_PAIRS)
namespace avx512 {
void solve(const Problem&, const Parallel&);
}
#endif
namespace JRNN_ISA {
namespace {

constexpr double kOneThread = 1e5;   // multiplications of a call, below which waking threads costs more than it saves
// Multiplications of a step, forwards and backwards, that make it worth for a member to meet the others; and of a call.
#if defined(JRNN_POISON)  // the sanitizers' build: teams for all that can be split
constexpr double kOfMember = 1, kOfMemberBack = 1, kOfTeam = 1;
#else
constexpr double kOfMember = 1.8e4, kOfMemberBack = 1.2e5, kOfTeam = 4e6;
#endif
constexpr int64_t kFewRows = kBytes / 4;  // of each thread; with more, arithmetic takes longer than reading weights
constexpr int64_t kShare = 1 << 16;  // weights that make it worth for another thread to pack them

int64_t second_cache() {  // bytes a core
#if defined(JRNN_POISON)
  return 1;
#elif defined(_SC_LEVEL2_CACHE_SIZE)
  static const int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return 1 << 20;
}

// How a group is split: its rows over `pieces`, and each step of a piece over `members`, which take `grain` vectors of
// units as a whole. It follows from the problem and the machine, not from who has time, so that sums are split alike.
struct Plan {
  int64_t pieces, members, grain;
};
template <class C, class S>
Plan plan(const Problem& p, int64_t threads) {
  const auto over = [](int64_t count, int64_t each) { return (count + each - 1) / each; };
  const int64_t each = over(threads, p.groups), weights = C::kGates * p.units * p.units;
  const Plan by_rows{std::clamp<int64_t>(each, 1, std::max<int64_t>(1, over(p.rows, kTile))), 1, kWide};
  int64_t pieces = by_rows.pieces;
  // every piece reads all weights in every step, and beyond the second cache that takes longer than the arithmetic;
  // backwards the gradients of the weights take the cache
  const bool far = weights * int64_t(sizeof(Factor<S>)) > second_cache();
  if (!p.backward && far && p.rows <= kFewRows * each) pieces = std::min(pieces, over(each, kMostMembers));
  const double of_step = double(p.rows) / pieces * weights;
  const int64_t worth = of_step / (p.backward ? kOfMemberBack : kOfMember);
  const int64_t most = std::min({threads / (p.groups * pieces), kMostMembers, worth});
  if (!C::kRecurrent || most < 2 || of_step * p.steps < kOfTeam) return by_rows;
  int64_t whole = C::kBlock;
  if constexpr (C::kTwice) whole = std::max<int64_t>(whole, C::Second::kBlock);
  const int64_t vectors = Blocks<C, Wide<S>>(p.units).vectors;
  const auto largest = [&](int64_t grain) { return over(over(vectors, grain), most) * grain; };
  const int64_t grain = std::max<int64_t>(whole, largest(kWide / 2) < largest(kWide) ? kWide / 2 : kWide);
  const int64_t members = std::min(most, over(vectors, grain));
  return members < 2 ? by_rows : Plan{pieces, members, grain};
}

template <class C, class S>
void solve_as(const Problem& p, Parallel parallel) {
  using T = Wide<S>;
  const int64_t columns = p.features + (C::kRecurrent ? p.units : 1);
  const double multiplications = double(p.groups) * p.steps * p.rows * C::kGates * p.units * columns;
  if (multiplications < kOneThread) parallel.threads = 1;
  const Plan split = plan<C, S>(p, parallel.threads);
  const int64_t pieces = split.pieces;
  const int64_t numbers = (p.features + p.units) * C::kGates * p.units;
  const bool shared = !p.w_in.stride && !p.w_rec.stride && !p.bias.stride && !p.bias_rec.stride && !p.theta.stride;
  std::vector<std::array<Weights<S>, 2>> weights(shared ? 1 : p.groups);
  std::vector<typename Backward<C, S>::Gradients> found(p.backward ? p.groups * pieces : 0);
  const Parallel* spare = p.groups * pieces < parallel.threads ? &parallel : nullptr;

  const int64_t groups = weights.size(), shares = std::clamp<int64_t>(numbers / kShare, 1, parallel.threads);
  for (auto& of_group : weights)
    each_product<C>([&](auto part, int i) { of_group[i] = room_for_weights<decltype(part), S>(p); });
  run(parallel, groups * shares, [&](int64_t i) {
    each_product<C>([&](auto part, int number) {
      pack_all<decltype(part), S>(weights[i / shares][number], p, i / shares, {i % shares, shares});
    });
  });
  run(parallel, p.groups * pieces, [&](int64_t i) {
    const int64_t g = i / pieces, piece = i % pieces;
    const int64_t begin = p.rows * piece / pieces, end = p.rows * (piece + 1) / pieces;
    const Weights<S>* own = weights[shared ? 0 : g].data();
    const Rows<C, S> rows{{p, g, begin, end - begin}, own, spare, split.members, split.grain};
    if (!p.backward) {
      const Forward<C, S> forward{rows};  // const: what it holds stays in registers
      return forward.run();
    }
    const Backward<C, S> backward{{rows}};
    found[i] = backward.run();
  });
  if (!p.d_bias) return;
  for (int64_t j = 0; C::kLeaks && j < p.groups * p.units; ++j) {
    const int64_t g = j / p.units, unit = j % p.units, wide = Blocks<C, T>(p.units).padded;
    const T* leak = weights[shared ? 0 : g][0].leak + unit;
    T sum = 0;
    for (int64_t i = g * pieces; i < (g + 1) * pieces; ++i) sum += found[i].of_leak[unit];
    p.d_theta.of<S>(g)[unit] = narrow<S>(sum * leak[0] * leak[wide]);
  }
  run(parallel, p.groups * shares, [&](int64_t j) {
    const int64_t g = j / shares;
    const Share share{j % shares, shares};
    each_product<C>([&](auto part, int number) {
      using Part = decltype(part);
      const Blocks<Part, T> blocks(p.units);
      std::vector<const T*> in, rec;
      for (int64_t i = g * pieces; i < (g + 1) * pieces; ++i)
        in.push_back(found[i].of_in[number]), rec.push_back(found[i].of_rec[number]);
      unpack<Part, S>(in, p.features + 1, Part::of_input, blocks, p.d_w_in.of<S>(g), p.d_bias.of<S>(g), 0, share);
      if (!C::kRecurrent) return;
      // beside h only n of the GRU has a bias
      const int biased = Part::kOwnBias ? Part::kGates - 1 : Part::kGates;
      unpack<Part, S>(rec, p.units + 1, Part::of_state, blocks, p.d_w_rec.of<S>(g), p.d_bias_rec.of<S>(g), biased,
                      share);
    });
  });
}

template <class S>
void solve_in(const Problem& p, const Parallel& parallel) {
  if (p.kind == kGated) return solve_gated<1, S>(p, parallel);
  if (p.kind == kComplex) return solve_gated<2, S>(p, parallel);
  const bool found = Recurrences::find(p, [&](auto recurrence) { solve_as<decltype(recurrence), S>(p, parallel); });
  if (!found) throw std::invalid_argument("the compiled kernel has no recurrence of this number");
}

}  // namespace

void solve(const Problem& p, const Parallel& parallel) {
#if defined(JRNN_PAIRS)
  if (p.storage != Storage::kBfloat16) return avx512::solve(p, parallel);  // the same instructions
#else
  if (p.storage == Storage::kFloat32) return solve_in<float>(p, parallel);
  if (p.storage == Storage::kFloat64) return solve_in<double>(p, parallel);
#endif
  return solve_in<Bfloat16>(p, parallel);
}

}  // namespace JRNN_ISA
}  // namespace jrnn
