#include "check.h"

#include "bounds.h"
#include "texts.h"
#include "words.h"

namespace recserve {

namespace {

std::string fault_of_number(const InputSpec& field, int64_t size) {
  const std::string has = " has " + std::to_string(size) + " elements";
  if (field.max_elements && size > *field.max_elements) {
    return has + ", more than the " + std::to_string(*field.max_elements) +
           " that one request may carry; shorten it, or split it into several requests";
  }
  if (field.min_elements && size < *field.min_elements) {
    return has + "; send " + std::to_string(*field.min_elements) + " or more";
  }
  return "";
}

std::string fault_of_shape(const ModelSpec& spec, const Array& array) {
  const int64_t rows = array.shape.empty() ? 1 : array.shape[0];
  if (spec.ragged() && rows != 1) {
    return " has batch size " + std::to_string(rows) +
           "; this model takes requests of unlike length, so send one request [1, n] per user: the server batches them";
  }
  if (spec.max_batch_size && rows == 0) return " has batch size 0; send 1 or more";
  return "";
}

// To be said after "input 'name'".
std::string fault_of_input(const ModelSpec& spec, const InputSpec& field, const Array& array) {
  if (array.dtype != field.dtype) {
    const bool is_text = field.dtype->kind == Kind::Text;
    return " is " + std::string(array.dtype->numpy) + "; send " +
           (is_text ? "an array of str" : std::string(field.dtype->numpy));
  }
  if (std::string fault = fault_of_shape(spec, array); !fault.empty()) return fault;
  if (field.dtype->kind == Kind::Text) {
    if (const std::string fault = fault_of_texts(array.texts, field.max_bytes); !fault.empty()) return ": " + fault;
  }
  if (!field.bounded()) return "";
  if (std::string fault = fault_of_number(field, array.size()); !fault.empty()) return fault;
  return fault_of_bounds(field, array);
}

// The whole sentence.
std::string fault_of_axis(const ModelSpec& spec, const AxisSpec& axis, const Request& request) {
  const size_t batch = spec.max_batch_size ? 1 : 0;
  const auto name = [&](const AxisPlace& place) -> const std::string& { return spec.inputs[place.input].name; };
  const auto size = [&](const AxisPlace& place) { return request[place.input].shape[batch + place.number]; };
  for (const AxisPlace& place : axis.places) {
    const Shape& shape = request[place.input].shape;
    if (batch + place.number < shape.size()) continue;
    return spec.name + ": input '" + name(place) + "' has shape " + shape_in_words(shape) + ", without the axis '" +
           axis.name + "'";
  }
  const AxisPlace& first = axis.places[0];
  for (const AxisPlace& place : axis.places) {
    const int64_t found = size(place);
    const std::string where = spec.name + ": input '" + name(place) + "' has " + std::to_string(found) +
                              " elements along '" + axis.name + "'";
    if (found < axis.least) return where + "; send " + std::to_string(axis.least) + " or more";
    if (axis.greatest && found > *axis.greatest) {
      return where + "; send " + std::to_string(*axis.greatest) + " or fewer";
    }
    if (found != size(first)) {
      return where + ", input '" + name(first) + "' has " + std::to_string(size(first)) +
             "; send as many of one as of the other";
    }
  }
  return "";
}

std::string missing(const ModelSpec& spec, const InputSpec& field) {
  std::vector<std::string> names;
  for (const InputSpec& one : spec.inputs) names.push_back(one.name);
  return spec.name + ": input '" + field.name + "' is missing; send " + list_in_words(names);
}

}  // namespace

std::string fault_of(const ModelSpec& spec, const Request& request) {
  for (size_t place = 0; place < spec.inputs.size(); ++place) {
    const InputSpec& field = spec.inputs[place];
    if (request[place].dtype == nullptr) return missing(spec, field);
    const std::string fault = fault_of_input(spec, field, request[place]);
    if (!fault.empty()) return spec.name + ": input '" + field.name + "'" + fault;
  }
  for (const AxisSpec& axis : spec.axes) {
    if (std::string fault = fault_of_axis(spec, axis, request); !fault.empty()) return fault;
  }
  return "";
}

}  // namespace recserve
