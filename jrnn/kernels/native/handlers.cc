// XLA's side: arguments to a Problem, the thread pool to a Parallel, and the choice of the instruction set.
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <string>

#include "ffi.h"
#include "problem.h"

namespace jrnn {

#if defined(__x86_64__)
namespace avx512_bf16 {
void solve(const Problem&, const Parallel&);
}
namespace avx512 {
void solve(const Problem&, const Parallel&);
}
namespace avx2 {
void solve(const Problem&, const Parallel&);
}
#endif
namespace baseline {
void solve(const Problem&, const Parallel&);
}

struct Choice {
  const char* name;
  Solve solve;
};

// The widest instructions this machine has, or narrower ones if JRNN_ISA asks for them (the tests do).
const Choice& choose() {
  static const Choice choice = [] {
#if defined(__x86_64__)
    const char* asked = std::getenv("JRNN_ISA");
    const std::string most = asked ? asked : "";
    const int level = most == "baseline" ? 0 : most == "avx2" ? 1 : most == "avx512" ? 2 : 3;
    __builtin_cpu_init();
    const bool narrow =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool wide = narrow && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
    const bool pairs = wide && __builtin_cpu_supports("avx512bf16");
    if (pairs && level > 2) return Choice{"avx512_bf16", avx512_bf16::solve};
    if (wide && level > 1) return Choice{"avx512", avx512::solve};
    if (narrow && level > 0) return Choice{"avx2", avx2::solve};
#endif
    return Choice{"baseline", baseline::solve};
  }();
  return choice;
}

// Work claimed from a counter, by the caller too: it waits only for pieces that a thread has begun, so a pool whose
// threads are all busy cannot hold it up (a team waits a little for them, see team.h). What the pool runs late finds
// nothing left to claim.
struct Shared {
  std::atomic<int64_t> next{0}, done{0};
  int64_t count;
  void (*work)(void*, int64_t);
  void* context;
  std::mutex mutex;
  std::condition_variable finished;
  std::exception_ptr failure;

  void help() {
    for (int64_t i; (i = next.fetch_add(1)) < count;) {
      std::exception_ptr caught;
      try {
        work(context, i);
      } catch (...) {
        caught = std::current_exception();
      }
      std::lock_guard<std::mutex> lock(mutex);
      if (caught) failure = caught;
      if (++done == count) finished.notify_one();
    }
  }
};

constexpr int kPatience = 5000;  // some 50 us: a little longer than waking up takes

void* start_on_pool(void* pool, int64_t count, int64_t helpers, void (*work)(void*, int64_t), void* context) {
  auto* threads = static_cast<ffi::ThreadPool*>(pool);
  auto shared = std::make_shared<Shared>();
  shared->count = count, shared->work = work, shared->context = context;
  auto* begun = new std::shared_ptr<Shared>(shared);
  try {
    for (int64_t i = 0; i < helpers; ++i) threads->Schedule([shared] { shared->help(); });
  } catch (...) {  // with fewer helpers, or none, the caller does the rest itself
  }
  return begun;
}

void finish_on_pool(void* begun) {
  const std::unique_ptr<std::shared_ptr<Shared>> owned(static_cast<std::shared_ptr<Shared>*>(begun));
  const auto& shared = *owned;
  shared->help();
  for (int i = 0; i < kPatience && shared->done != shared->count; ++i) relax();  // sleep and waking up take longer
  std::unique_lock<std::mutex> lock(shared->mutex);
  const auto all_done = [&] { return shared->done == shared->count; };
  // not `wait`: compiled by GCC 12 and later it needs a newer libstdc++ than RHEL 9 has
  while (!shared->finished.wait_for(lock, std::chrono::hours(1), all_done)) {
  }
  if (shared->failure) std::rethrow_exception(shared->failure);
}

// Large results are written once from end to end: huge pages save most of their page faults.
void advise(void* data, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t kHuge = uintptr_t(1) << 21;
  const uintptr_t from = (reinterpret_cast<uintptr_t>(data) + kHuge - 1) / kHuge * kHuge;
  const uintptr_t to = (reinterpret_cast<uintptr_t>(data) + bytes) / kHuge * kHuge;
  if (to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#else
  (void)data, (void)bytes;
#endif
}

Operand operand(const ffi::AnyBuffer& buffer) {
  const auto shape = buffer.dimensions();
  const int64_t count = static_cast<int64_t>(buffer.element_count());
  if (count == 0) return {};
  return {buffer.untyped_data(), shape[0] == 1 ? 0 : count / shape[0]};
}

ffi::Error handle(bool backward, ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::RemainingRets rets,
                  ffi::Span<const int64_t> sizes, ffi::Span<const int64_t> reverse) {
  Problem p{};
  Operand* inputs[] = {&p.xs,      &p.w_in,    &p.w_rec,  &p.bias, &p.bias_rec, &p.theta, &p.h0, &p.c0,
                       &p.reset_h, &p.reset_c, &p.inside, &p.valid, &p.resets, &p.cuts, &p.tap_h, &p.tap_c,
                       // of the backward pass alone
                       &p.hs, &p.cs, &p.gates, &p.g_hs, &p.g_cs, &p.g_last_h, &p.g_last_c};
  Operand* forwards[] = {&p.hs, &p.cs, &p.gates, &p.last_h, &p.last_c};
  Operand* backwards[] = {&p.d_xs,    &p.d_w_in, &p.d_w_rec, &p.d_bias,    &p.d_bias_rec, &p.d_theta,
                          &p.d_h0,    &p.d_c0,   &p.d_reset_h, &p.d_reset_c, &p.d_tap_h,    &p.d_tap_c};
  const size_t most_in = backward ? 23 : 16, most_out = backward ? 12 : 5;
  if (args.size() != most_in || rets.size() != most_out || sizes.size() != 6)
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, "jrnn: wrong number of arguments, results or sizes");
  p.kind = sizes[0];
  p.groups = sizes[1], p.steps = sizes[2], p.rows = sizes[3], p.features = sizes[4], p.units = sizes[5];
  if (static_cast<int64_t>(reverse.size()) != p.groups)
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, "jrnn: one direction a group is needed");
  p.backward = backward;
  p.reverse = reverse.begin();
  for (size_t i = 0; i < most_in; ++i) {
    auto buffer = args.get<ffi::AnyBuffer>(i);
    if (buffer.has_error()) return buffer.error();
    *inputs[i] = operand(*buffer);
    if (inputs[i] != &p.w_rec) continue;
    const auto type = buffer->element_type();
    if (type != ffi::F32 && type != ffi::F64 && type != ffi::BF16)
      return ffi::Error(ffi::ErrorCode::kInvalidArgument, "jrnn: float32, float64 or bfloat16 weights are needed");
    p.storage = type == ffi::F32 ? Storage::kFloat32 : type == ffi::F64 ? Storage::kFloat64 : Storage::kBfloat16;
  }
  for (size_t i = 0; i < most_out; ++i) {
    auto buffer = rets.get<ffi::AnyBuffer>(i);
    if (buffer.has_error()) return buffer.error();
    *(backward ? backwards : forwards)[i] = operand(**buffer);
    advise((*buffer)->untyped_data(), (*buffer)->size_bytes());
  }
  const Parallel parallel{std::max<int64_t>(1, pool.num_threads()), &pool, start_on_pool, finish_on_pool};
  try {
    choose().solve(p, parallel);
  } catch (const std::exception& failure) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, std::string("jrnn: ") + failure.what());
  }
  return ffi::Error::Success();
}

ffi::Error forward(ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::RemainingRets rets,
                   ffi::Span<const int64_t> sizes, ffi::Span<const int64_t> reverse) {
  return handle(false, pool, args, rets, sizes, reverse);
}

ffi::Error backward(ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::RemainingRets rets,
                    ffi::Span<const int64_t> sizes, ffi::Span<const int64_t> reverse) {
  return handle(true, pool, args, rets, sizes, reverse);
}

}  // namespace jrnn

#define JRNN_BINDING                                                                                     \
  ffi::Ffi::Bind()                                                                                       \
      .Ctx<ffi::ThreadPool>()                                                                            \
      .RemainingArgs()                                                                                   \
      .RemainingRets()                                                                                   \
      .Attr<ffi::Span<const int64_t>>("sizes")                                                           \
      .Attr<ffi::Span<const int64_t>>("reverse")
XLA_FFI_DEFINE_HANDLER_SYMBOL(jrnn_forward, jrnn::forward, JRNN_BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(jrnn_backward, jrnn::backward, JRNN_BINDING);

extern "C" const char* jrnn_instructions() { return jrnn::choose().name; }
