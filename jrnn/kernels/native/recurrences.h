// The recurrences with products over [x, h], by their numbers in the files of the Python package's `recurrences`.
#pragma once
#include <type_traits>

#include "recurrences/elman.h"
#include "recurrences/gru.h"
#include "recurrences/gru_before.h"
#include "recurrences/lstm.h"
#include "recurrences/min_gru.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

template <class... Each>
struct List {
  // f(Recurrence{}) for the one that runs the problem; whether there is one.
  template <class F>
  static bool find(const Problem& p, F&& f) {
    return ((Each::runs(p) && (f(Each{}), true)) || ...);
  }
};
using Recurrences = List<Elman, Leaky, Lstm, Gru, GruBefore, MinGru>;

// f(C{}, its number) for the products of a step.
template <class C, class F>
JRNN_INLINE void each_product(F&& f) {
  f(C{}, 0);
  if constexpr (C::kTwice) f(typename C::Second{}, 1);
}

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
