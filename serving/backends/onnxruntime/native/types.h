// Types of elements under the names of a configuration, of Triton and of ONNX Runtime, and arrays of them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace recserve {

enum class Kind { Bool, Int8, Uint8, Int16, Uint16, Int32, Uint32, Int64, Uint64, Fp16, Fp32, Fp64, Text };

struct Dtype {
  Kind kind;
  std::string_view config;  // "TYPE_INT64"; empty where no configuration of ours may say it
  std::string_view numpy;   // as the Python form of this backend names it
  int triton;               // TRITONSERVER_DataType
  int onnx;                 // ONNXTensorElementDataType
  size_t bytes;             // of one element; 0 of text
};

std::span<const Dtype> dtypes();                 // those of a configuration first, in the order of its messages
const Dtype* dtype_of_config(std::string_view);  // null where there is none
const Dtype* dtype_of_triton(int);
const Dtype* dtype_of_onnx(int);
const Dtype& dtype_of(Kind);

using Shape = std::vector<int64_t>;

int64_t product(std::span<const int64_t>);

// A dense array, row by row. It is a view; `keep` holds the memory where nobody else does.
struct Array {
  const Dtype* dtype = nullptr;
  Shape shape;
  std::span<const std::byte> data;      // of all types but text
  std::vector<std::string_view> texts;  // of text
  std::shared_ptr<const void> keep;

  int64_t size() const { return product(shape); }
};

// Memory for numbers, aligned as ONNX Runtime aligns its own; never null, not even for nothing.
class Memory {
 public:
  explicit Memory(size_t bytes);
  std::byte* data() { return bytes_.get(); }

 private:
  struct Free {
    void operator()(std::byte*) const;
  };
  std::unique_ptr<std::byte, Free> bytes_;
};

}  // namespace recserve
