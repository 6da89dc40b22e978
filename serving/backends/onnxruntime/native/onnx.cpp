#include "onnx.h"

#include <dlfcn.h>

#include <array>
#include <stdexcept>
#include <string_view>

namespace recserve {

namespace {

// The oldest one that `recserve` allows; the places above are older.
constexpr uint32_t API_VERSION = 22;
constexpr int LOG_ERROR = 3;
constexpr int DEVICE_ALLOCATOR = 0, DEFAULT_MEMORY = 0;
constexpr std::array<std::string_view, 14> CODES{
    "SUCCESS",        "FAIL",          "INVALID_ARGUMENT",    "NO_SUCHFILE",
    "NO_MODEL",       "ENGINE_ERROR",  "RUNTIME_EXCEPTION",   "INVALID_PROTOBUF",
    "MODEL_LOADED",   "NOT_IMPLEMENTED", "INVALID_GRAPH",     "EP_FAIL",
    "MODEL_LOAD_CANCELED", "MODEL_REQUIRES_COMPILATION"};

// What OrtGetApiBase returns.
struct Base {
  const void* const* (*get_api)(uint32_t version);
  const char* (*get_version)();
};

struct Closer {
  void operator()(void* library) const { dlclose(library); }
};

}  // namespace

Onnx::Onnx(const std::string& library) {
  std::unique_ptr<void, Closer> opened(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (!opened) throw std::runtime_error("ONNX Runtime cannot be loaded: " + std::string(dlerror()));
  const auto get_base = reinterpret_cast<const Base* (*)()>(dlsym(opened.get(), "OrtGetApiBase"));
  if (!get_base) throw std::runtime_error(library + " is no ONNX Runtime: it has no OrtGetApiBase");
  table_ = get_base()->get_api(API_VERSION);
  if (!table_) {
    throw std::runtime_error(library + " is ONNX Runtime " + get_base()->get_version() + "; 1." +
                             std::to_string(API_VERSION) + " or newer is needed");
  }
  call<place::CreateEnv>(LOG_ERROR, "recserve", &env_);
  call<place::CreateCpuMemoryInfo>(DEVICE_ALLOCATOR, DEFAULT_MEMORY, &memory_);
  call<place::GetAllocatorWithDefaultOptions>(&allocator_);
  library_ = opened.release();
}

Onnx::~Onnx() {
  release<place::ReleaseMemoryInfo>(memory_);
  release<place::ReleaseEnv>(env_);
  dlclose(library_);
}

void Onnx::check(OrtStatus* status) const {
  if (!status) return;
  const Owned<place::ReleaseStatus, OrtStatus> owned(*this, status);
  const auto code = static_cast<size_t>(at<int(const OrtStatus*)>(place::GetErrorCode)(status));
  const std::string name(code < CODES.size() ? CODES[code] : "GENERAL ERROR");
  const char* text = at<const char*(const OrtStatus*)>(place::GetErrorMessage)(status);
  throw std::runtime_error("[ONNXRuntimeError] : " + std::to_string(code) + " : " + name + " : " + text);
}

}  // namespace recserve
