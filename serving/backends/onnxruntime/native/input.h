// The bytes of one input as an array.

#pragma once

#include <memory>
#include <span>
#include <string>

#include "types.h"

namespace recserve {

// `keep` holds the bytes where the request does not. Throws std::invalid_argument where they do not fit the shape.
Array array_of_bytes(
    const std::string& name, const Dtype* dtype, std::span<const int64_t> shape, std::span<const std::byte> bytes,
    std::shared_ptr<const void> keep);

}  // namespace recserve
