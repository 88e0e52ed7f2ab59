// XLA's interface for foreign calls.
#pragma once
#include "xla/ffi/api/c_api.h"
// What is used here has been in the interface since 0.3 (jaxlib 0.10), so that is what the handlers ask for: a library
// built with newer headers then runs on all jaxlibs that jrnn supports.
#if XLA_FFI_API_MAJOR == 0 && XLA_FFI_API_MINOR > 3
#undef XLA_FFI_API_MINOR
#define XLA_FFI_API_MINOR 3
#endif
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
