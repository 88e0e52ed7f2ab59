// The launcher as it is shipped, on a CPU: a foreign function without a stream, and a driver whose modules are shared
// libraries that hold a kernel compiled against the emulator.
#include "../../../jrnn/kernels/cuda/launch.cc"

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    jrnn_cuda_emulated,
    +[](ffi::RemainingArgs args, ffi::RemainingRets rets, std::string_view code, std::string_view key,
        std::string_view name, ffi::Span<const int64_t> sizes) {
      return jrnn::cuda::launch(nullptr, args, rets, code, key, name, sizes);
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
}  // namespace

extern "C" {
// What the driver was asked for, and from which seed it draws the order of threads.
const void* emulator_seen() { return &seen; }
void emulator_begin(unsigned from, int largest_cluster) { seed = from, largest = largest_cluster, seen = {}; }

int cuCtxGetCurrent(void** context) {
  *context = &seed;
  return 0;
}
int cuModuleLoadData(void** module, const void* image) {
  ++seen.loaded;
  *module = dlopen(static_cast<const char*>(image), RTLD_NOW | RTLD_LOCAL);
  return *module ? 0 : 200;  // CUDA_ERROR_INVALID_IMAGE
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = dlsym(module, name);
  return *function ? 0 : 500;  // CUDA_ERROR_NOT_FOUND
}
int cuFuncSetAttribute(void*, int attribute, int value) {
  if (attribute == 8) seen.shared = value;
  if (attribute == 14) seen.large = value;
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
  seen.launches += 1, seen.blocks = config->grid[0], seen.cluster = cluster, seen.threads = config->block[0];
  seen.bytes = config->shared;
  const auto kernel = reinterpret_cast<Kernel>(function);
  return kernel(parameters[0], config->grid[0], cluster, config->block[0], config->shared, seed++) ? 719 : 0;
}
}
