// JSON as a configuration, a manifest and a reference of scores are written in.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace recserve {

class Json {
 public:
  // Throws std::invalid_argument, which says at which byte.
  static Json parse(std::string_view text);

  const Json* find(std::string_view key) const;  // null where this is no object or has no such member
  const Json& at(std::string_view key) const;    // JSON's null for a member that is not there

  bool is_object() const { return kind_ == Kind::Object; }
  bool is_true() const;  // as Python's bool() of the value
  // A string, or the digits of a number as they were written; `otherwise` for anything else.
  std::string text(std::string_view otherwise = "") const;
  // A whole number, or a string of one, as protobuf writes 64 bits; throws std::invalid_argument for anything else.
  int64_t integer(int64_t otherwise) const;
  double number() const;  // throws std::invalid_argument where this is none
  const std::vector<Json>& items() const { return items_; }
  const std::vector<std::pair<std::string, Json>>& members() const { return members_; }

 private:
  friend class JsonReader;
  enum class Kind { Null, False, True, Number, String, Array, Object };
  Kind kind_ = Kind::Null;
  std::string text_;
  std::vector<Json> items_;
  std::vector<std::pair<std::string, Json>> members_;
};

}  // namespace recserve
