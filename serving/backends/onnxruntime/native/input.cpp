#include "input.h"

#include <limits>
#include <stdexcept>

#include "texts.h"
#include "words.h"

namespace recserve {

namespace {

// Throws std::invalid_argument for an axis below 0, or more elements than memory has bytes.
int64_t elements(const std::string& name, std::span<const int64_t> shape) {
  int64_t size = 1;
  for (const int64_t axis : shape) {
    if (axis < 0 || (axis > 0 && size > std::numeric_limits<int64_t>::max() / 16 / axis)) {
      throw std::invalid_argument("input '" + name + "' has shape " + shape_in_words(shape));
    }
    size *= axis;
  }
  return size;
}

}  // namespace

Array array_of_bytes(
    const std::string& name, const Dtype* dtype, std::span<const int64_t> shape, std::span<const std::byte> bytes,
    std::shared_ptr<const void> keep) {
  if (!dtype) throw std::invalid_argument("input '" + name + "' is of a type that this backend does not know");
  Array array{dtype, {shape.begin(), shape.end()}, {}, {}, std::move(keep)};
  const int64_t size = elements(name, shape);
  bool fits = true;
  if (dtype->kind == Kind::Text) {
    auto texts = parse_texts(bytes, size);
    fits = texts.has_value();
    if (fits) array.texts = std::move(*texts);
  } else {
    fits = bytes.size() == static_cast<size_t>(size) * dtype->bytes;
    array.data = bytes;
  }
  if (!fits) {
    throw std::invalid_argument("input '" + name + "' has " + std::to_string(bytes.size()) + " bytes, which are not " +
                                std::to_string(size) + " elements of " + std::string(dtype->numpy));
  }
  return array;
}

}  // namespace recserve
