#include "json.h"

#include <cctype>
#include <charconv>
#include <limits>
#include <stdexcept>

namespace recserve {

namespace {

const Json NOTHING;
constexpr int DEEPEST = 100;

void append_utf8(std::string& text, uint32_t code) {
  const auto byte = [&](uint32_t value) { text.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | code >> 6), byte(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 0x3F)), byte(0x80 | (code & 0x3F));
  } else {
    byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 0x3F)), byte(0x80 | (code >> 6 & 0x3F));
    byte(0x80 | (code & 0x3F));
  }
}

}  // namespace

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  Json document() {
    Json value = this->value(0);
    skip();
    if (place_ != text_.size()) fail();
    return value;
  }

 private:
  [[noreturn]] void fail() const { throw std::invalid_argument("no JSON at byte " + std::to_string(place_)); }

  void skip() {
    while (place_ < text_.size() && std::string_view(" \t\r\n").find(text_[place_]) != std::string_view::npos) ++place_;
  }

  bool takes(std::string_view word) {
    if (text_.substr(place_, word.size()) != word) return false;
    place_ += word.size();
    return true;
  }

  void expect(char one) {
    if (!takes(std::string_view(&one, 1))) fail();
  }

  Json value(int depth) {
    if (depth > DEEPEST) fail();
    skip();
    Json result;
    if (takes("{")) {
      result.kind_ = Json::Kind::Object;
      members(result, depth);
    } else if (takes("[")) {
      result.kind_ = Json::Kind::Array;
      items(result, depth);
    } else if (takes("\"")) {
      result.kind_ = Json::Kind::String;
      result.text_ = string();
    } else if (takes("true")) {
      result.kind_ = Json::Kind::True;
    } else if (takes("false")) {
      result.kind_ = Json::Kind::False;
    } else if (!takes("null")) {
      result.kind_ = Json::Kind::Number;
      result.text_ = number();
    }
    return result;
  }

  void members(Json& object, int depth) {
    skip();
    if (takes("}")) return;
    do {
      skip();
      expect('"');
      std::string key = string();
      skip();
      expect(':');
      object.members_.emplace_back(std::move(key), value(depth + 1));
      skip();
    } while (takes(","));
    expect('}');
  }

  void items(Json& array, int depth) {
    skip();
    if (takes("]")) return;
    do {
      array.items_.push_back(value(depth + 1));
      skip();
    } while (takes(","));
    expect(']');
  }

  std::string string() {
    std::string result;
    while (true) {
      if (place_ >= text_.size()) fail();
      const char one = text_[place_++];
      if (one == '"') return result;
      if (one == '\\') {
        escaped(result);
      } else {
        result.push_back(one);
      }
    }
  }

  void escaped(std::string& result) {
    if (place_ >= text_.size()) fail();
    const char one = text_[place_++];
    if (one == 'u') {
      append_utf8(result, code_point());
      return;
    }
    constexpr std::string_view names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
    const size_t which = names.find(one);
    if (which == std::string_view::npos) fail();
    result.push_back(values[which]);
  }

  uint32_t code_point() {
    const uint32_t first = four_digits();
    if (first < 0xD800 || first > 0xDBFF || !takes("\\u")) return first;
    const uint32_t second = four_digits();
    if (second < 0xDC00 || second > 0xDFFF) fail();
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }

  uint32_t four_digits() {
    const std::string_view digits = text_.substr(place_, 4);
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc() || end != digits.data() + 4) fail();
    place_ += 4;
    return value;
  }

  std::string number() {
    const std::string_view rest = text_.substr(place_);
    double value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (error == std::errc::invalid_argument || end == rest.data()) fail();
    place_ += static_cast<size_t>(end - rest.data());
    return std::string(rest.data(), end);
  }

  std::string_view text_;
  size_t place_ = 0;
};

Json Json::parse(std::string_view text) { return JsonReader(text).document(); }

const Json* Json::find(std::string_view key) const {
  // The last of two members of one name, as in Python.
  for (auto member = members_.rbegin(); member != members_.rend(); ++member) {
    if (member->first == key) return &member->second;
  }
  return nullptr;
}

const Json& Json::at(std::string_view key) const {
  const Json* found = find(key);
  return found ? *found : NOTHING;
}

bool Json::is_true() const {
  switch (kind_) {
    case Kind::Number: return number() != 0;
    case Kind::String: return !text_.empty();
    case Kind::Array: return !items_.empty();
    case Kind::Object: return !members_.empty();
    default: return kind_ == Kind::True;
  }
}

std::string Json::text(std::string_view otherwise) const {
  return kind_ == Kind::String || kind_ == Kind::Number ? text_ : std::string(otherwise);
}

int64_t Json::integer(int64_t otherwise) const {
  if (kind_ == Kind::Null) return otherwise;
  int64_t value = 0;
  const char* end = text_.data() + text_.size();
  const auto [stopped, error] = std::from_chars(text_.data(), end, value);
  if (text_.empty() || error != std::errc() || stopped != end) {
    throw std::invalid_argument("'" + text_ + "' is no whole number");
  }
  return value;
}

double Json::number() const {
  double value = 0;
  const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
  if (kind_ != Kind::Number || error == std::errc::invalid_argument) throw std::invalid_argument("this is no number");
  // What is too large or too small for a double, as Python reads it.
  if (error == std::errc::result_out_of_range) {
    const bool is_small = text_.find("e-") != std::string::npos || text_.find("E-") != std::string::npos;
    return is_small ? 0.0 : (text_[0] == '-' ? -1 : 1) * std::numeric_limits<double>::infinity();
  }
  return value;
}

}  // namespace recserve
