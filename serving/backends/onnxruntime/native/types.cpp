#include "types.h"

#include <algorithm>
#include <array>
#include <new>

namespace recserve {

namespace {

constexpr size_t ALIGNMENT = 64;

constexpr std::array<Dtype, 13> DTYPES{{
    {Kind::Bool, "TYPE_BOOL", "bool", 1, 9, 1},
    {Kind::Int8, "TYPE_INT8", "int8", 6, 3, 1},
    {Kind::Uint8, "TYPE_UINT8", "uint8", 2, 2, 1},
    {Kind::Int32, "TYPE_INT32", "int32", 8, 6, 4},
    {Kind::Int64, "TYPE_INT64", "int64", 9, 7, 8},
    {Kind::Fp16, "TYPE_FP16", "float16", 10, 10, 2},
    {Kind::Fp32, "TYPE_FP32", "float32", 11, 1, 4},
    {Kind::Fp64, "TYPE_FP64", "float64", 12, 11, 8},
    {Kind::Text, "TYPE_STRING", "object", 13, 8, 0},
    {Kind::Int16, "", "int16", 7, 5, 2},
    {Kind::Uint16, "", "uint16", 3, 4, 2},
    {Kind::Uint32, "", "uint32", 4, 12, 4},
    {Kind::Uint64, "", "uint64", 5, 13, 8},
}};

template <typename Predicate>
const Dtype* found(Predicate is_it) {
  const auto place = std::find_if(DTYPES.begin(), DTYPES.end(), is_it);
  return place == DTYPES.end() ? nullptr : &*place;
}

}  // namespace

std::span<const Dtype> dtypes() { return DTYPES; }

const Dtype* dtype_of_config(std::string_view name) {
  return name.empty() ? nullptr : found([&](const Dtype& one) { return one.config == name; });
}

const Dtype* dtype_of_triton(int number) {
  return found([&](const Dtype& one) { return one.triton == number; });
}

const Dtype* dtype_of_onnx(int number) {
  return found([&](const Dtype& one) { return one.onnx == number; });
}

const Dtype& dtype_of(Kind kind) {
  return *found([&](const Dtype& one) { return one.kind == kind; });
}

int64_t product(std::span<const int64_t> axes) {
  int64_t result = 1;
  for (const int64_t axis : axes) result *= axis;
  return result;
}

Memory::Memory(size_t bytes)
    : bytes_(static_cast<std::byte*>(
          ::operator new(std::max(bytes, ALIGNMENT), std::align_val_t{ALIGNMENT}))) {}

void Memory::Free::operator()(std::byte* bytes) const { ::operator delete(bytes, std::align_val_t{ALIGNMENT}); }

}  // namespace recserve
