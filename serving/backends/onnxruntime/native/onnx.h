// ONNX Runtime's C API, by the places of its functions in the table that every version has in the same order; the
// wheel has the library and no header. A place never changes once it was released (ONNX Runtime asserts so itself).

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace recserve {

struct OrtStatus;
struct OrtEnv;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtValue;
struct OrtMemoryInfo;
struct OrtAllocator;
struct OrtTensorInfo;

class Onnx {
 public:
  // Of a library file. Throws std::runtime_error where it cannot be loaded or is too old.
  explicit Onnx(const std::string& library);
  ~Onnx();
  Onnx(const Onnx&) = delete;
  Onnx& operator=(const Onnx&) = delete;

  OrtEnv* env() const { return env_; }
  OrtAllocator* allocator() const { return allocator_; }
  const OrtMemoryInfo* memory() const { return memory_; }

  // Calls the function at a place, which returns a status. Throws std::runtime_error in the words of ONNX Runtime's
  // Python package.
  template <int Place, typename... Arguments>
  void call(Arguments... arguments) const {
    check(at<OrtStatus*(Arguments...)>(Place)(arguments...));
  }

  template <int Place, typename Handle>
  void release(Handle* handle) const {
    at<void(Handle*)>(Place)(handle);
  }

 private:
  template <typename Signature>
  Signature* at(int place) const {
    return reinterpret_cast<Signature*>(const_cast<void*>(table_[place]));
  }
  void check(OrtStatus* status) const;

  void* library_ = nullptr;
  const void* const* table_ = nullptr;
  OrtEnv* env_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  OrtAllocator* allocator_ = nullptr;
};

// Places of the table that are used, under the names of the C API.
namespace place {
constexpr int GetErrorCode = 1;
constexpr int GetErrorMessage = 2;
constexpr int CreateEnv = 3;
constexpr int CreateSession = 7;
constexpr int Run = 9;
constexpr int CreateSessionOptions = 10;
constexpr int SetSessionExecutionMode = 13;
constexpr int SetSessionLogSeverityLevel = 22;
constexpr int SetSessionGraphOptimizationLevel = 23;
constexpr int SetIntraOpNumThreads = 24;
constexpr int SetInterOpNumThreads = 25;
constexpr int SessionGetInputCount = 30;
constexpr int SessionGetOutputCount = 31;
constexpr int SessionGetInputName = 36;
constexpr int SessionGetOutputName = 37;
constexpr int CreateTensorAsOrtValue = 48;
constexpr int CreateTensorWithDataAsOrtValue = 49;
constexpr int IsTensor = 50;
constexpr int GetTensorMutableData = 51;
constexpr int FillStringTensor = 52;
constexpr int GetStringTensorDataLength = 53;
constexpr int GetStringTensorContent = 54;
constexpr int GetTensorElementType = 60;
constexpr int GetDimensionsCount = 61;
constexpr int GetDimensions = 62;
constexpr int GetTensorTypeAndShape = 65;
constexpr int CreateCpuMemoryInfo = 69;
constexpr int AllocatorFree = 76;
constexpr int GetAllocatorWithDefaultOptions = 78;
constexpr int ReleaseEnv = 92;
constexpr int ReleaseStatus = 93;
constexpr int ReleaseMemoryInfo = 94;
constexpr int ReleaseSession = 95;
constexpr int ReleaseValue = 96;
constexpr int ReleaseTensorTypeAndShapeInfo = 99;
constexpr int ReleaseSessionOptions = 100;
constexpr int AddSessionConfigEntry = 130;
}  // namespace place

// Something of ONNX Runtime's that is released by the function at a place.
template <int Place, typename Handle>
class Owned {
 public:
  Owned(const Onnx& onnx, Handle* handle) : onnx_(&onnx), handle_(handle) {}
  ~Owned() {
    if (handle_) onnx_->release<Place>(handle_);
  }
  Owned(Owned&& other) noexcept : onnx_(other.onnx_), handle_(std::exchange(other.handle_, nullptr)) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Owned& operator=(Owned&&) = delete;
  Handle* get() const { return handle_; }

 private:
  const Onnx* onnx_;
  Handle* handle_;
};

}  // namespace recserve
