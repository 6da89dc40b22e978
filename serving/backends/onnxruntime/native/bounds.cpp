#include "bounds.h"

#include <cmath>
#include <concepts>
#include <cstring>
#include <type_traits>

#include "words.h"

namespace recserve {

namespace {

struct Half {
  uint16_t bits;
};

// A client may send any byte for a truth, which C++'s own bool may not hold.
struct Truth {
  uint8_t bits;
};

// What a value is compared as: a fraction is exact in double, all else in int64.
double number(float value) { return value; }
double number(double value) { return value; }
double number(Half value) { return of_half(value.bits); }
int64_t number(Truth value) { return value.bits != 0; }
template <std::integral T>
int64_t number(T value) {
  return value;
}

std::string words(Truth value) { return value.bits ? "True" : "False"; }
std::string words(float value) { return in_words(value); }
std::string words(double value) { return in_words(value); }
std::string words(Half value) { return half_in_words(value.bits); }
template <std::integral T>
std::string words(T value) {
  return std::to_string(value);
}

// As numpy compares: it takes a type that has both exactly, or float64.
template <typename T>
auto bound_as(int64_t bound) {
  return static_cast<decltype(number(T{}))>(bound);
}

template <typename T>
class Checked {
 public:
  Checked(const InputSpec& field, const Array& array)
      : field_(field), array_(array), length_(static_cast<size_t>(array.size())) {}

  std::string fault() const {
    if (is_nan_refused() && holds_nan()) return " holds NaN; send numbers";
    if (field_.minimum) {
      const std::string found = outside(*field_.minimum, [](auto value, auto bound) { return value < bound; }, true);
      if (!found.empty()) return found;
    }
    if (field_.maximum) {
      return outside(*field_.maximum, [](auto value, auto bound) { return value > bound; }, false);
    }
    return "";
  }

 private:
  T at(size_t place) const {
    T value;
    std::memcpy(&value, array_.data.data() + place * sizeof value, sizeof value);
    return value;
  }

  bool is_nan_refused() const { return std::is_same_v<decltype(number(T{})), double> && !field_.missing; }

  bool holds_nan() const {
    for (size_t place = 0; place < length_; ++place) {
      if (std::isnan(static_cast<double>(number(at(place))))) return true;
    }
    return false;
  }

  // `is_wrong(value, bound)`; an empty text where no value is.
  template <typename IsWrong>
  std::string outside(const Bound& bound, IsWrong is_wrong, bool is_least) const {
    const size_t places = bound.values.size();
    if (bound.by_place && (array_.shape.empty() || static_cast<size_t>(array_.shape.back()) != places)) {
      return " has a last axis of other than the " + std::to_string(places) + " places that have bounds";
    }
    size_t of_bound = 0;
    for (size_t place = 0; place < length_; ++place) {
      if (is_wrong(number(at(place)), bound_as<T>(bound.values[of_bound]))) {
        return told(place, bound, of_bound, is_least);
      }
      if (++of_bound == places) of_bound = 0;
    }
    return "";
  }

  std::string told(size_t place, const Bound& bound, size_t of_bound, bool is_least) const {
    const int64_t limit = bound.values[of_bound];
    std::string value = words(at(place));
    if (bound.by_place) value += " at place " + std::to_string(of_bound);
    const std::string wanted = std::to_string(limit);
    if (!is_least) return ": " + value + " is above " + wanted + "; send " + wanted + " or less";
    const std::string side = limit == 0 ? "negative" : "below " + wanted;
    return ": " + value + " is " + side + "; send " + wanted + " or more";
  }

  const InputSpec& field_;
  const Array& array_;
  size_t length_;
};

}  // namespace

std::string fault_of_bounds(const InputSpec& field, const Array& array) {
  switch (array.dtype->kind) {
    case Kind::Bool: return Checked<Truth>(field, array).fault();
    case Kind::Int8: return Checked<int8_t>(field, array).fault();
    case Kind::Uint8: return Checked<uint8_t>(field, array).fault();
    case Kind::Int32: return Checked<int32_t>(field, array).fault();
    case Kind::Int64: return Checked<int64_t>(field, array).fault();
    case Kind::Fp16: return Checked<Half>(field, array).fault();
    case Kind::Fp32: return Checked<float>(field, array).fault();
    case Kind::Fp64: return Checked<double>(field, array).fault();
    default: return "";  // no configuration has bounds of other numbers, and text has none
  }
}

}  // namespace recserve
