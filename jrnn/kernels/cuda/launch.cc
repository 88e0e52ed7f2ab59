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
  Result (*context)(Handle, Handle*);
  Result (*push)(Handle);
  Result (*pop)(Handle*);
  Result (*begin)(unsigned);
  Result (*version)(int*);
  Result (*device)(int*, int);
  Result (*retain)(Handle*, int);
  Result (*release)(int);
  Result (*load)(Handle*, const void*);
  Result (*unload)(Handle);
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
    get(context, "cuStreamGetCtx"), get(push, "cuCtxPushCurrent_v2"), get(pop, "cuCtxPopCurrent_v2");
    get(begin, "cuInit"), get(version, "cuDriverGetVersion"), get(device, "cuDeviceGet");
    get(retain, "cuDevicePrimaryCtxRetain"), get(release, "cuDevicePrimaryCtxRelease_v2");
    get(load, "cuModuleLoadData"), get(unload, "cuModuleUnload");
    get(find, "cuModuleGetFunction"), get(set, "cuFuncSetAttribute"), get(text, "cuGetErrorString");
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

// A context that is current as long as this lives: the thread that calls need not have one, or has another device's.
struct Current {
  const Result failed;
  explicit Current(Handle context) : failed(driver().push(context)) {}
  Current(const Current&) = delete;
  ~Current() {
    Handle old;
    if (!failed) driver().pop(&old);
  }
};

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

struct Launch {
  Attribute attribute{};
  Config config;
  Launch(const int64_t* sizes, int64_t tiles, Handle stream) {
    const auto cluster = static_cast<unsigned>(sizes[kCluster]);
    attribute.id = kClusterDimension, attribute.value.cluster = {cluster, 1, 1};
    config = {{static_cast<unsigned>(tiles * cluster), 1, 1},
              {static_cast<unsigned>(sizes[kThreads]), 1, 1},
              static_cast<unsigned>(sizes[kShared]),
              stream,
              &attribute,
              cluster > 1 ? 1u : 0u};
  }
  Launch(const Launch&) = delete;  // the one points into the other
};

// The kernel of a module, allowed what its launches need; the context is current.
ffi::Error load(std::string_view code, std::string_view name, const Config& config, Handle* module, Handle* function) {
  const Driver& cu = driver();
  const std::string image(code), called(name);  // of text the driver wants the end marked
  if (Result r = cu.load(module, image.c_str())) return failure("the kernel was not loaded", r);
  if (Result r = cu.find(function, *module, called.c_str())) return failure("the kernel was not found", r);
  if (Result r = cu.set(*function, kMostShared, static_cast<int>(config.shared))) return failure("shared memory", r);
  if (config.count && config.attributes->value.cluster.x > kPortable) {
    if (Result r = cu.set(*function, kLargeClusters, 1)) return failure("clusters of 16 blocks", r);
  }
  return ffi::Error::Success();
}

// The functions that are loaded, by context. Its lock is never held while the driver works: that may wait for a device,
// which may wait, in a collective operation, for another one whose thread asks here.
class Loaded {
 public:
  using Key = std::pair<Handle, std::string>;
  Handle find(const Key& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto known = functions_.find(key);
    return known == functions_.end() ? nullptr : known->second;
  }
  void add(const Key& key, Handle function) {
    std::lock_guard<std::mutex> lock(mutex_);
    functions_.emplace(key, function);
  }

 private:
  std::mutex mutex_;
  std::map<Key, Handle> functions_;
};
Loaded& loaded() {
  static Loaded all;
  return all;
}

ffi::Error context_of(Handle stream, Handle* context) {
  const Driver& cu = driver();
  if (!cu.missing.empty()) return ffi::Error(ffi::ErrorCode::kUnavailable, "jrnn: " + cu.missing);
  if (Result r = cu.context(stream, context)) return failure("no CUDA context", r);
  return *context ? ffi::Error::Success() : ffi::Error::Internal("jrnn: the stream has no CUDA context");
}
Loaded::Key key_of(Handle context, std::string_view key, std::string_view name) {
  return {context, std::string(key) + std::string(name)};
}
ffi::Error wrong_number() {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "jrnn: wrong number of sizes, arguments or results");
}

// Before a program runs, and before its devices wait for each other: loads the kernel.
ffi::Error initialize(Handle stream, ffi::RemainingArgs, ffi::RemainingRets, std::string_view code,
                      std::string_view key, std::string_view name, ffi::Span<const int64_t> sizes) {
  Handle context = nullptr, module = nullptr, function = nullptr;
  if (ffi::Error found = context_of(stream, &context); found.failure()) return found;
  if (sizes.size() != kSizes) return wrong_number();
  const Loaded::Key place = key_of(context, key, name);
  static std::mutex one_loads;
  std::lock_guard<std::mutex> lock(one_loads);
  if (loaded().find(place)) return ffi::Error::Success();
  const Current current(context);
  if (current.failed) return failure("no CUDA context", current.failed);
  const Launch made(sizes.begin(), 1, stream);
  if (ffi::Error found = load(code, name, made.config, &module, &function); found.failure()) return found;
  loaded().add(place, function);
  return ffi::Error::Success();
}

ffi::Error launch(Handle stream, ffi::RemainingArgs args, ffi::RemainingRets rets, std::string_view,
                  std::string_view key, std::string_view name, ffi::Span<const int64_t> sizes) {
  if (sizes.size() != kSizes || args.size() + rets.size() > kMost || rets.size() == 0) return wrong_number();
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
  const int64_t tiles = groups * ((rows + sizes[kRows] - 1) / sizes[kRows]);
  if (tiles == 0) return ffi::Error::Success();  // a grid without blocks is an error
  auto* numbers = reinterpret_cast<int*>(operands + count);
  numbers[0] = static_cast<int>(steps), numbers[1] = static_cast<int>(rows);
  Handle context = nullptr;
  if (ffi::Error found = context_of(stream, &context); found.failure()) return found;
  const Handle function = loaded().find(key_of(context, key, name));
  if (!function) return ffi::Error::Internal("jrnn: the kernel was not loaded before its launch");
  const Current current(context);
  if (current.failed) return failure("no CUDA context", current.failed);
  const Launch made(sizes.begin(), tiles, stream);
  void* parameters[] = {&problem};
  if (Result r = driver().launch(&made.config, function, parameters, nullptr))
    return failure("the kernel was not launched", r);
  return ffi::Error::Success();
}

// How many clusters of such a kernel the first GPU has room for; below 0 where it cannot be found out.
int clusters_of(std::string_view code, std::string_view name, const int64_t* sizes) {
  const Driver& cu = driver();
  int device = 0, active = -1;
  Handle context = nullptr, module = nullptr, function = nullptr;
  if (!cu.missing.empty() || cu.begin(0) || cu.device(&device, 0) || cu.retain(&context, device)) return -1;
  {
    const Current current(context);
    const Launch made(sizes, 1, nullptr);
    if (!current.failed && load(code, name, made.config, &module, &function).success()) {
      if (cu.clusters(&active, function, &made.config)) active = -1;
    }
    if (module) cu.unload(module);
  }
  cu.release(device);
  return active;
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
XLA_FFI_DEFINE_HANDLER_SYMBOL(jrnn_cuda_initialize, jrnn::cuda::initialize,
                              ffi::Ffi::BindInitialize().Ctx<ffi::PlatformStream<void*>>().JRNN_CUDA_ARGUMENTS);

// Why there is no driver; empty if there is one.
extern "C" const char* jrnn_cuda_missing() { return jrnn::cuda::driver().missing.c_str(); }

// The newest version of CUDA whose machine code the driver reads, 12040 of 12.4; 0 without a driver.
extern "C" int jrnn_cuda_version() {
  int version = 0;
  return jrnn::cuda::driver().missing.empty() && !jrnn::cuda::driver().version(&version) ? version : 0;
}

// How many clusters of a kernel run at once, below 0 where that cannot be found out; `sizes` as the handlers get them.
extern "C" int jrnn_cuda_clusters(const char* code, int64_t bytes, const char* name, const int64_t* sizes) {
  return jrnn::cuda::clusters_of(std::string_view(code, static_cast<size_t>(bytes)), name, sizes);
}
