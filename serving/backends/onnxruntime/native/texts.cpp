#include "texts.h"

#include <cstring>

namespace recserve {

namespace {

struct Sequence {
  size_t bytes;    // 0 of what begins no character
  uint32_t least;  // code point that needs so many bytes
  uint32_t first;  // bits of the first byte
};

Sequence begun_by(unsigned char one) {
  if (one < 0x80) return {1, 0, one};
  if ((one & 0xE0) == 0xC0) return {2, 0x80, one & 0x1FU};
  if ((one & 0xF0) == 0xE0) return {3, 0x800, one & 0x0FU};
  if ((one & 0xF8) == 0xF0) return {4, 0x10000, one & 0x07U};
  return {0, 0, 0};
}

}  // namespace

std::optional<std::vector<std::string_view>> parse_texts(std::span<const std::byte> bytes, int64_t number) {
  std::vector<std::string_view> texts;
  size_t place = 0;
  while (place < bytes.size()) {
    uint32_t length = 0;
    if (bytes.size() - place < sizeof length) return std::nullopt;
    std::memcpy(&length, bytes.data() + place, sizeof length);
    place += sizeof length;
    if (bytes.size() - place < length || static_cast<int64_t>(texts.size()) == number) return std::nullopt;
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()) + place, length);
    place += length;
  }
  if (static_cast<int64_t>(texts.size()) != number) return std::nullopt;
  return texts;
}

size_t serialized_bytes(const std::vector<std::string_view>& texts) {
  size_t bytes = 0;
  for (const std::string_view text : texts) bytes += sizeof(uint32_t) + text.size();
  return bytes;
}

void serialize_texts(const std::vector<std::string_view>& texts, std::byte* target) {
  for (const std::string_view text : texts) {
    const auto length = static_cast<uint32_t>(text.size());
    std::memcpy(target, &length, sizeof length);
    target += sizeof length;
    if (length) std::memcpy(target, text.data(), length);
    target += length;
  }
}

bool is_utf8(std::string_view text) {
  for (size_t place = 0; place < text.size();) {
    const auto [bytes, least, first] = begun_by(static_cast<unsigned char>(text[place]));
    if (bytes == 0 || text.size() - place < bytes) return false;
    uint32_t code = first;
    for (size_t more = 1; more < bytes; ++more) {
      const auto one = static_cast<unsigned char>(text[place + more]);
      if ((one & 0xC0) != 0x80) return false;
      code = code << 6 | (one & 0x3FU);
    }
    const bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
    if (code < least || code > 0x10FFFF || is_surrogate) return false;
    place += bytes;
  }
  return true;
}

std::string fault_of_texts(const std::vector<std::string_view>& texts, std::optional<int64_t> longest) {
  for (size_t place = 0; place < texts.size(); ++place) {
    const std::string_view text = texts[place];
    const std::string where = "element " + std::to_string(place);
    if (!is_utf8(text)) return where + " is no UTF-8 text; encode it as UTF-8";
    if (longest && static_cast<int64_t>(text.size()) > *longest) {
      return where + " has " + std::to_string(text.size()) + " bytes; send " + std::to_string(*longest) + " or fewer";
    }
    if (text.find('\0') != std::string_view::npos) {
      return where + " holds a NUL character, which no id has; send it without";
    }
  }
  return "";
}

}  // namespace recserve
