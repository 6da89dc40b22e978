#include "words.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace recserve {

namespace {

constexpr std::string_view BLANKS = " \t\n\r\f\v";

// numpy writes numbers from 1e-4 up to 1e16 without an exponent. `scientific` is "-d.ddde+XX" of the fewest digits.
std::string as_numpy(double value, const std::string& scientific) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  const size_t at = scientific.find('e');
  const int exponent = std::atoi(scientific.c_str() + at + 1);
  const double size = std::fabs(value);
  if (size != 0 && (size < 1e-4 || size >= 1e16)) return scientific;
  const std::string sign = std::signbit(value) ? "-" : "";
  std::string digits;
  for (const char one : scientific.substr(0, at)) {
    if (one >= '0' && one <= '9') digits.push_back(one);
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  const std::string rest = digits.substr(whole);
  return sign + digits.substr(0, whole) + "." + (rest.empty() ? "0" : rest);
}

template <typename Number>
std::string fewest_digits(Number value) {
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific).ptr;
  return {text.data(), end};
}

}  // namespace

std::string in_words(float value) { return as_numpy(value, fewest_digits(value)); }
std::string in_words(double value) { return as_numpy(value, fewest_digits(value)); }

std::string half_in_words(uint16_t bits) {
  const double value = of_half(bits);
  std::array<char, 64> text{};
  // Five digits tell all numbers of float16 apart.
  for (int digits = 0; digits < 5; ++digits) {
    std::snprintf(text.data(), text.size(), "%.*e", digits, value);
    if (nearest_half(std::strtod(text.data(), nullptr)) == value) break;
  }
  return as_numpy(value, text.data());
}

std::string list_in_words(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) quoted.push_back("'" + text + "'");
  return "[" + joined(quoted, ", ") + "]";
}

std::string shape_in_words(std::span<const int64_t> shape) {
  std::vector<std::string> axes;
  for (const int64_t axis : shape) axes.push_back(std::to_string(axis));
  return "(" + joined(axes, ", ") + (axes.size() == 1 ? ",)" : ")");
}

std::string joined(const std::vector<std::string>& texts, std::string_view between) {
  std::string result;
  for (const std::string& text : texts) {
    if (&text != &texts.front()) result += between;
    result += text;
  }
  return result;
}

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  size_t start = 0, end = 0;
  while ((end = text.find(at, start)) != std::string_view::npos) {
    parts.emplace_back(text.substr(start, end - start));
    start = end + 1;
  }
  parts.emplace_back(text.substr(start));
  return parts;
}

std::optional<int64_t> whole_number(std::string_view text) {
  const size_t first = text.find_first_not_of(BLANKS);
  if (first == std::string_view::npos) return std::nullopt;
  text = text.substr(first, text.find_last_not_of(BLANKS) - first + 1);
  std::string digits;
  if (text[0] == '+' || text[0] == '-') {
    if (text[0] == '-') digits = "-";
    text.remove_prefix(1);
  }
  for (size_t place = 0; place < text.size(); ++place) {
    const bool is_between = place > 0 && place + 1 < text.size() && text[place - 1] != '_';
    if (text[place] == '_' && is_between) continue;
    if (text[place] < '0' || text[place] > '9') return std::nullopt;
    digits.push_back(text[place]);
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

float of_half(uint16_t bits) {
  const int exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
  const float sign = bits & 0x8000 ? -1.0F : 1.0F;
  if (exponent == 0x1F) {
    return fraction ? std::numeric_limits<float>::quiet_NaN() : sign * std::numeric_limits<float>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
}

double nearest_half(double value) {
  if (!std::isfinite(value) || value == 0) return value;
  if (std::fabs(value) >= 65520) return std::copysign(std::numeric_limits<double>::infinity(), value);
  int exponent = 0;
  std::frexp(value, &exponent);
  const int last = std::max(exponent - 11, -24);  // of the last of its eleven digits
  return std::ldexp(std::nearbyint(std::ldexp(value, -last)), last);
}

uint16_t half_bits(double value) {
  const double rounded = nearest_half(value);
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return 0x7E00;
  if (std::isinf(rounded)) return sign | 0x7C00;
  if (rounded == 0) return sign;
  int exponent = 0;
  const double size = std::fabs(rounded);
  std::frexp(size, &exponent);
  if (exponent < -13) return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::ldexp(size, 24)));
  const auto fraction = static_cast<uint16_t>(std::ldexp(size, 11 - exponent)) - 1024;
  return static_cast<uint16_t>(sign | (exponent + 14) << 10 | fraction);
}

}  // namespace recserve
