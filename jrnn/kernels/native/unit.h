// What a recurrence sees of one step of a vector of units, and what it says of itself: recurrences/ has one a file.
//
// A recurrence says which problems it `runs`, has the constants of `Usual` that differ, kSums, kWeights, of_input,
// of_state, kBlock, kSaved, kGates, and two functions of a vector of units:
//   activate  the new h from the sums; changes c in place; keeps what the backward pass needs
//   slope     dz from delta of h and of c; returns what passes to the state before without dz; changes dc
#pragma once
#include "numbers.h"
#include "problem.h"

namespace jrnn {
namespace JRNN_ISA {
namespace {

// A product over [x, h] has kSums sums a unit. x has kWeights columns of weights a unit, its i-th the block of_input[i]
// of the kGates in W_in, and feeds as many of the sums, from kInput on; so has h, of_state and kState. A panel of
// weights has kBlock vectors of units a column. The backward pass finds kSaved numbers a unit.
struct Usual {
  static constexpr int kInput = 0, kState = 0;
  static constexpr bool kCell = false,    // the state has a second part, c
      kOwnBias = false,                   // the last sum, of h alone, has a bias of its own
      kRecurrent = true,                  // h has weights
      kTwice = false,                     // a second product follows, over [x, what `activate` returns]
      kLeaks = false,                     // theta, of which `activate` and `slope` have the shares
      kSlopeOfState = false;              // the slope follows from h', so that nothing need be kept
};

// The sums of a vector of units.
template <class T>
struct UnitSums {
  const T* of;
  int64_t width;
  JRNN_INLINE Vector<T> operator[](int q) const { return load(of + q * width); }
};

// What the backward pass needs, [kSaved][H]; absent where the forward pass keeps nothing.
template <class T, class N>
struct Kept {
  N* of;
  int64_t h, n;
  JRNN_INLINE void save(int q, Vector<T> v) const {
    if (of) store(of + q * h, v, n);
  }
  JRNN_INLINE Vector<T> operator[](int q) const { return load(of + q * h, n); }
};

// The shares of the old state and of the new value in a leaky state: sigmoid(-theta) and sigmoid(theta).
template <class T>
struct Shares {
  const T* of;
  int64_t padded;
  JRNN_INLINE Vector<T> old() const { return load(of); }
  JRNN_INLINE Vector<T> fresh() const { return load(of + padded); }
};

// Where the dz of a vector of units go: of the sums of the product, and of the one sum of a second product.
template <class T, class O>
struct Slopes {
  O *of, *of_second;
  int64_t width, n;
  JRNN_INLINE void put(int q, Vector<T> v) const { store(of + q * width, first<T>(v, n)); }
  JRNN_INLINE void put_second(Vector<T> v) const { store(of_second, first<T>(v, n)); }
};

}  // namespace
}  // namespace JRNN_ISA
}  // namespace jrnn
