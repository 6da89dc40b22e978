// Values in words, as Python and numpy write them: the messages of both forms of this backend are the same.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "types.h"

namespace recserve {

std::string in_words(float);
std::string in_words(double);
std::string half_in_words(uint16_t bits);

std::string list_in_words(const std::vector<std::string>&);    // ['a', 'b']
std::string shape_in_words(std::span<const int64_t>);          // (2, 3), (2,)
std::string joined(const std::vector<std::string>&, std::string_view between);
std::vector<std::string> split(std::string_view text, char at);

// As Python's int() reads it: blanks around it, a sign, underscores between digits.
std::optional<int64_t> whole_number(std::string_view text);

// float16: bits to a number, and a number to the nearest one that float16 has.
float of_half(uint16_t bits);
double nearest_half(double);
uint16_t half_bits(double);

}  // namespace recserve
