// Text on its way to and from a client: each element is its length in 4 bytes, then its bytes.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "types.h"

namespace recserve {

// The elements that `bytes` holds, as views; nothing where it does not hold `number` of them and no byte more.
std::optional<std::vector<std::string_view>> parse_texts(std::span<const std::byte> bytes, int64_t number);

size_t serialized_bytes(const std::vector<std::string_view>& texts);
void serialize_texts(const std::vector<std::string_view>& texts, std::byte* target);

bool is_utf8(std::string_view text);  // as Python's strict decoder

// What is wrong with the first element that cannot be an id, in words; empty where all can.
std::string fault_of_texts(const std::vector<std::string_view>& texts, std::optional<int64_t> longest);

}  // namespace recserve
