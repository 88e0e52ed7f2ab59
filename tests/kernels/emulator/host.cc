// The launcher as it is shipped, on a CPU: a foreign function without a stream, and a driver whose modules are shared
// libraries that hold a kernel compiled against the emulator.
#include "../../../jrnn/kernels/cuda/launch.cc"

// XLA calls the two in this order; on a CPU in one, and between them the driver may not load.
namespace {
thread_local bool may_load = true;
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    jrnn_cuda_emulated,
    +[](ffi::RemainingArgs args, ffi::RemainingRets rets, std::string_view code, std::string_view key,
        std::string_view name, ffi::Span<const int64_t> sizes) {
      const ffi::Error loaded = jrnn::cuda::initialize(nullptr, args, rets, code, key, name, sizes);
      if (loaded.failure()) return loaded;
      may_load = false;
      ffi::Error launched = jrnn::cuda::launch(nullptr, args, rets, code, key, name, sizes);
      may_load = true;
      return launched;
    },
    ffi::Ffi::Bind().JRNN_CUDA_ARGUMENTS);

namespace {
using Kernel = int (*)(const void* problem, int blocks, int cluster, int threads, int bytes, unsigned seed);
std::mutex one_at_a_time;
unsigned seed = 1;
struct {
  int launches, blocks, cluster, threads, bytes, loaded, shared, large;
} seen;
int largest = 16;  // blocks of a cluster
struct Allowed {
  int shared = 49152, large = 0;
};
std::map<void*, Allowed> allowed;  // what was asked for, for each function
thread_local void* current = nullptr;
}  // namespace

extern "C" {
// What the driver was asked for, and from which seed it draws the order of threads.
const void* emulator_seen() { return &seen; }
void emulator_begin(unsigned from, int largest_cluster) { seed = from, largest = largest_cluster, seen = {}; }

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) { return *version = 12040, 0; }
int cuDeviceGet(int* device, int) { return *device = 0; }
int cuDevicePrimaryCtxRetain(void** context, int) {
  *context = &seed;
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuStreamGetCtx(void*, void** context) {
  *context = &seed;
  return 0;
}
int cuCtxPushCurrent_v2(void* context) {
  current = context;
  return 0;
}
int cuCtxPopCurrent_v2(void** context) {
  *context = current, current = nullptr;
  return 0;
}
int cuModuleUnload(void*) { return 0; }
int cuModuleLoadData(void** module, const void* image) {
  if (!current) return 201;   // CUDA_ERROR_INVALID_CONTEXT
  if (!may_load) return 999;  // a device may wait for this thread
  ++seen.loaded;
  *module = dlopen(static_cast<const char*>(image), RTLD_NOW | RTLD_LOCAL);
  return *module ? 0 : 200;  // CUDA_ERROR_INVALID_IMAGE
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = dlsym(module, name);
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  allowed[*function] = {};
  return *function ? 0 : 500;  // CUDA_ERROR_NOT_FOUND
}
int cuFuncSetAttribute(void* function, int attribute, int value) {
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  if (attribute == 8) seen.shared = allowed[function].shared = value;
  if (attribute == 14) seen.large = allowed[function].large = value;
  return attribute == 8 || attribute == 14 ? 0 : 1;
}
int cuOccupancyMaxActiveClusters(int* count, void*, const jrnn::cuda::Config* config) {
  *count = static_cast<int>(config->attributes->value.cluster.x) <= largest ? 1 : 0;
  return 0;
}
int cuGetErrorString(int, const char** text) {
  *text = "the emulator says no";
  return 0;
}
int cuLaunchKernelEx(const jrnn::cuda::Config* config, void* function, void** parameters, void**) {
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  const int cluster = config->count ? static_cast<int>(config->attributes->value.cluster.x) : 1;
  const Allowed& may = allowed[function];
  if (!current) return 201;
  // CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_INVALID_CLUSTER_SIZE
  if (!config->grid[0] || config->block[0] > 1024 || config->shared > static_cast<unsigned>(may.shared)) return 1;
  if (config->grid[0] % cluster || cluster > largest || (cluster > 8 && !may.large)) return 912;
  seen.launches += 1, seen.blocks = config->grid[0], seen.cluster = cluster, seen.threads = config->block[0];
  seen.bytes = config->shared;
  const auto kernel = reinterpret_cast<Kernel>(function);
  return kernel(parameters[0], config->grid[0], cluster, config->block[0], config->shared, seed++) ? 719 : 0;
}
}
