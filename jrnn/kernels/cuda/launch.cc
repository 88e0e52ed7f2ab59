// XLA's side of the device kernels: finds the driver when it is first needed, loads what the compiler made and launches
// it. Nothing of CUDA is needed to build it; the few declarations of its driver that it uses are written out.
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "../native/ffi.h"

namespace jrnn {
namespace cuda {

// of cuda.h, CUDA 11.8 and later
using Result = int;
using Handle = void*;
struct Attribute {
  int id;
  char pad[4];
  union {
    char bytes[64];
    struct {
      unsigned x, y, z;
    } cluster;
  } value;
};
struct Config {
  unsigned grid[3], block[3], shared;
  Handle stream;
  Attribute* attributes;
  unsigned count;
};
constexpr int kClusterDimension = 4;                    // CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
constexpr int kMostShared = 8, kLargeClusters = 14;     // CU_FUNC_ATTRIBUTE_...: MAX_DYNAMIC_SHARED_SIZE_BYTES,
constexpr int kPortable = 8;                            // NON_PORTABLE_CLUSTER_SIZE_ALLOWED, above 8 blocks

struct Driver {
  Result (*context)(Handle*);
  Result (*load)(Handle*, const void*);
  Result (*find)(Handle*, Handle, const char*);
  Result (*set)(Handle, int, int);
  Result (*clusters)(int*, Handle, const Config*);
  Result (*launch)(const Config*, Handle, void**, void**);
  Result (*text)(Result, const char**);
  std::string missing;  // why there is none

  Driver() {
    const char* named = std::getenv("JRNN_CUDA_DRIVER");  // the tests have one of their own
    void* library = dlopen(named ? named : "libcuda.so.1", RTLD_NOW);
    if (!library) {
      missing = std::string("the driver was not found: ") + dlerror();
      return;
    }
    auto get = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
      if (!function) missing = std::string("the driver is too old: it has no ") + name;
    };
    get(context, "cuCtxGetCurrent"), get(load, "cuModuleLoadData"), get(find, "cuModuleGetFunction");
    get(set, "cuFuncSetAttribute"), get(text, "cuGetErrorString");
    get(clusters, "cuOccupancyMaxActiveClusters"), get(launch, "cuLaunchKernelEx");  // since 11.8
  }
};
const Driver& driver() {
  static const Driver found;
  return found;
}

ffi::Error failure(const char* what, Result result) {
  const char* text = nullptr;
  driver().text(result, &text);
  return ffi::Error::Internal(std::string("jrnn: ") + what + ": " + (text ? text : "error ") + " (" +
                              std::to_string(result) + ")");
}

// As `plan.cuh` has it.
struct Operand {
  void* data;
  long long stride;
};
constexpr size_t kMost = 40;
struct alignas(16) Problem {  // the arrays that are there, and after them the sizes
  unsigned char bytes[kMost * sizeof(Operand) + 2 * sizeof(int)];
};

// A kernel's sizes, in the order of `launch.py`.
enum Size { kThreads, kCluster, kRows, kShared, kSizes };


// The function for this context, loaded once; `config` is what it will be launched with.
ffi::Error kernel_of(std::string_view code, std::string_view key, std::string_view name, const Config& config,
                     int cluster, Handle* function) {
  static std::mutex mutex;
  static std::map<std::pair<Handle, std::string>, Handle> loaded;
  const Driver& cu = driver();
  Handle context = nullptr;
  if (Result r = cu.context(&context)) return failure("no CUDA context", r);
  std::lock_guard<std::mutex> lock(mutex);
  const auto place = std::make_pair(context, std::string(key) + std::string(name));
  const auto known = loaded.find(place);
  if (known != loaded.end()) {
    *function = known->second;
    return ffi::Error::Success();
  }
  Handle module = nullptr;
  const std::string image(code);  // of text the driver wants the end marked
  if (Result r = cu.load(&module, image.c_str())) return failure("the kernel was not loaded", r);
  if (Result r = cu.find(function, module, std::string(name).c_str())) return failure("the kernel was not found", r);
  if (Result r = cu.set(*function, kMostShared, static_cast<int>(config.shared))) return failure("shared memory", r);
  if (cluster > kPortable) {
    if (Result r = cu.set(*function, kLargeClusters, 1)) return failure("clusters of 16 blocks", r);
  }
  if (cluster > 1) {
    int active = 0;
    if (Result r = cu.clusters(&active, *function, &config)) return failure("clusters of blocks", r);
    if (active < 1) {
      return ffi::Error(ffi::ErrorCode::kUnavailable, "jrnn: this GPU has no room for a cluster of " +
                                                          std::to_string(cluster) +
                                                          " blocks now: name another implementation");
    }
  }
  loaded[place] = *function;
  return ffi::Error::Success();
}

ffi::Error launch(Handle stream, ffi::RemainingArgs args, ffi::RemainingRets rets, std::string_view code,
                  std::string_view key, std::string_view name, ffi::Span<const int64_t> sizes) {
  const Driver& cu = driver();
  if (!cu.missing.empty()) return ffi::Error(ffi::ErrorCode::kUnavailable, "jrnn: " + cu.missing);
  if (sizes.size() != kSizes || args.size() + rets.size() > kMost || rets.size() == 0)
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, "jrnn: wrong number of sizes, arguments or results");
  Problem problem{};
  auto* operands = reinterpret_cast<Operand*>(problem.bytes);
  size_t count = 0;
  auto add = [&](const ffi::AnyBuffer& buffer) {  // without elements: absent; an axis of 1 is shared by all groups
    const int64_t elements = buffer.element_count(), bytes = buffer.size_bytes(), groups = buffer.dimensions()[0];
    operands[count++] = elements ? Operand{buffer.untyped_data(), groups == 1 ? 0 : bytes / groups} : Operand{};
  };
  for (size_t i = 0; i < args.size(); ++i) {
    auto buffer = args.get<ffi::AnyBuffer>(i);
    if (buffer.has_error()) return buffer.error();
    add(*buffer);
  }
  int64_t groups = 0, steps = 0, rows = 0;
  for (size_t i = 0; i < rets.size(); ++i) {
    auto buffer = rets.get<ffi::AnyBuffer>(i);
    if (buffer.has_error()) return buffer.error();
    add(**buffer);
    const auto shape = (*buffer)->dimensions();
    if (i == 0) groups = shape[0], steps = shape[1], rows = shape[2];  // [E, T, B, ...]
  }
  auto* numbers = reinterpret_cast<int*>(operands + count);
  numbers[0] = static_cast<int>(steps), numbers[1] = static_cast<int>(rows);
  const auto cluster = static_cast<unsigned>(sizes[kCluster]);
  const int64_t tiles = groups * ((rows + sizes[kRows] - 1) / sizes[kRows]);
  Attribute attribute{};
  attribute.id = kClusterDimension, attribute.value.cluster = {cluster, 1, 1};
  const Config config{{static_cast<unsigned>(tiles * cluster), 1, 1},
                      {static_cast<unsigned>(sizes[kThreads]), 1, 1},
                      static_cast<unsigned>(sizes[kShared]),
                      stream,
                      &attribute,
                      cluster > 1 ? 1u : 0u};
  Handle function = nullptr;
  const ffi::Error found = kernel_of(code, key, name, config, static_cast<int>(cluster), &function);
  if (found.failure()) return found;
  void* parameters[] = {&problem};
  if (Result r = cu.launch(&config, function, parameters, nullptr)) return failure("the kernel was not launched", r);
  return ffi::Error::Success();
}

}  // namespace cuda
}  // namespace jrnn

#define JRNN_CUDA_ARGUMENTS            \
  RemainingArgs()                      \
      .RemainingRets()                 \
      .Attr<std::string_view>("code")  \
      .Attr<std::string_view>("key")   \
      .Attr<std::string_view>("name")  \
      .Attr<ffi::Span<const int64_t>>("sizes")
// It does not say that a CUDA graph may capture it: XLA launches it outside, as loading a kernel asks for.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jrnn_cuda, jrnn::cuda::launch,
                              ffi::Ffi::Bind().Ctx<ffi::PlatformStream<void*>>().JRNN_CUDA_ARGUMENTS);

// Why there is no driver; empty if there is one.
extern "C" const char* jrnn_cuda_missing() { return jrnn::cuda::driver().missing.c_str(); }
