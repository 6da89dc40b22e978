#include "packing.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "words.h"

namespace recserve {

namespace {

// A shape of as many elements, an axis of -1 taking what is left; the message is numpy's.
Shape reshaped(int64_t size, Shape shape) {
  const auto open = std::find(shape.begin(), shape.end(), -1);
  const int64_t known = open == shape.end() ? product(shape) : -product(shape);
  const bool fits = open == shape.end() ? known == size : known != 0 && size % known == 0;
  if (!fits) {
    std::string wanted = shape_in_words(shape);
    std::erase(wanted, ' ');
    if (open != shape.end()) wanted.replace(wanted.find("-1"), 2, "newaxis");
    throw std::runtime_error("cannot reshape array of size " + std::to_string(size) + " into shape " + wanted);
  }
  if (open != shape.end()) *open = size / known;
  return shape;
}

// `shape` behind the batch of an array.
Shape behind_batch(const ModelSpec& spec, const Array& array, const Shape& shape) {
  Shape whole;
  if (spec.max_batch_size) whole.push_back(array.shape.at(0));
  whole.insert(whole.end(), shape.begin(), shape.end());
  return reshaped(array.size(), whole);
}

int64_t elements(const ModelSpec& spec, const Request& request) {
  int64_t most = 0;
  for (size_t place = 0; place < spec.inputs.size(); ++place) {
    if (spec.inputs[place].ragged) most = std::max(most, request[place].size());
  }
  return most;
}

void join(Array& joined, const Requests& requests, size_t input) {
  if (joined.dtype->kind == Kind::Text) {
    for (const Request* request : requests) {
      const auto& texts = (*request)[input].texts;
      joined.texts.insert(joined.texts.end(), texts.begin(), texts.end());
    }
    return;
  }
  size_t bytes = 0;
  for (const Request* request : requests) bytes += (*request)[input].data.size();
  auto memory = std::make_shared<Memory>(bytes);
  size_t place = 0;
  for (const Request* request : requests) {
    const auto data = (*request)[input].data;
    if (!data.empty()) std::memcpy(memory->data() + place, data.data(), data.size());
    place += data.size();
  }
  joined.data = {memory->data(), bytes};
  joined.keep = std::move(memory);
}

Array packed(const ModelSpec& spec, size_t input, const Requests& requests) {
  const InputSpec& field = spec.inputs[input];
  Array joined;
  joined.dtype = field.dtype;
  joined.shape = (*requests[0])[input].shape;
  int64_t along = 0;
  for (const Request* request : requests) {
    const Array& own = (*request)[input];
    along += field.ragged ? own.size() : own.shape.empty() ? 0 : own.shape[0];
    const size_t batch = own.shape.empty() ? 0 : 1;
    const bool is_alike = own.shape.size() == joined.shape.size() &&
                          std::equal(own.shape.begin() + batch, own.shape.end(), joined.shape.begin() + batch);
    if (!field.ragged && !is_alike) {
      throw std::runtime_error("input '" + field.name + "' has shapes " + shape_in_words(joined.shape) + " and " +
                               shape_in_words(own.shape) + " in one batch");
    }
  }
  join(joined, requests, input);
  if (field.ragged) {
    joined.shape = {along};
  } else if (!joined.shape.empty()) {
    joined.shape[0] = along;
    if (field.reshape) joined.shape = behind_batch(spec, joined, *field.reshape);
  } else if (field.reshape) {
    joined.shape = behind_batch(spec, joined, *field.reshape);
  }
  return joined;
}

template <typename T>
void write_numbers(const std::vector<int64_t>& numbers, std::byte* target) {
  for (const int64_t number : numbers) {
    const auto value = static_cast<T>(number);
    std::memcpy(target, &value, sizeof value);
    target += sizeof value;
  }
}

void write_halves(const std::vector<int64_t>& numbers, std::byte* target) {
  for (const int64_t number : numbers) {
    const uint16_t bits = half_bits(static_cast<double>(number));
    std::memcpy(target, &bits, sizeof bits);
    target += sizeof bits;
  }
}

void write(const std::vector<int64_t>& numbers, Kind kind, std::byte* target) {
  switch (kind) {
    case Kind::Bool: return write_numbers<bool>(numbers, target);
    case Kind::Int8: return write_numbers<int8_t>(numbers, target);
    case Kind::Uint8: return write_numbers<uint8_t>(numbers, target);
    case Kind::Int32: return write_numbers<int32_t>(numbers, target);
    case Kind::Int64: return write_numbers<int64_t>(numbers, target);
    case Kind::Fp16: return write_halves(numbers, target);
    case Kind::Fp32: return write_numbers<float>(numbers, target);
    case Kind::Fp64: return write_numbers<double>(numbers, target);
    default: throw std::runtime_error("a batch input holds numbers");
  }
}

std::vector<int64_t> counted(Counted kind, std::vector<int64_t> counts) {
  switch (kind) {
    case Counted::Elements: break;
    case Counted::AccumulatedWithZero: counts.insert(counts.begin(), 0); [[fallthrough]];
    case Counted::Accumulated: std::partial_sum(counts.begin(), counts.end(), counts.begin()); break;
    // Only the shape speaks: its one axis is as long as the longest request.
    case Counted::MaxAsShape: counts.assign(static_cast<size_t>(*std::max_element(counts.begin(), counts.end())), 0);
  }
  return counts;
}

Array batch_input(const BatchInputSpec& spec, const Requests& requests) {
  std::vector<int64_t> counts;
  for (const Request* request : requests) counts.push_back((*request)[spec.source].size());
  const std::vector<int64_t> numbers = counted(spec.kind, std::move(counts));
  const size_t bytes = numbers.size() * spec.dtype->bytes;
  auto memory = std::make_shared<Memory>(bytes);
  write(numbers, spec.dtype->kind, memory->data());
  return {spec.dtype, {static_cast<int64_t>(numbers.size())}, {memory->data(), bytes}, {}, memory};
}

// Elements [begin, begin + number) of an array, in a shape of their own.
Array part(const Array& whole, int64_t begin, int64_t number, Shape shape) {
  Array result{whole.dtype, std::move(shape), {}, {}, whole.keep};
  if (whole.dtype->kind == Kind::Text) {
    result.texts.assign(whole.texts.begin() + begin, whole.texts.begin() + begin + number);
  } else {
    const size_t bytes = whole.dtype->bytes;
    result.data = whole.data.subspan(static_cast<size_t>(begin) * bytes, static_cast<size_t>(number) * bytes);
  }
  return result;
}

std::vector<Array> parts(const ModelSpec& spec, const OutputSpec& output, const Requests& requests, Array array) {
  if (!spec.max_batch_size) {
    if (output.reshape) array.shape = behind_batch(spec, array, *output.reshape);
    return {array};
  }
  const size_t of_rows = output.scattered_like.value_or(0);
  std::vector<int64_t> rows;
  for (const Request* request : requests) {
    const Shape& shape = (*request).at(of_rows).shape;
    rows.push_back(output.scattered_like ? product(shape) : shape.at(0));
  }
  const int64_t sum = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  if (array.shape.empty() || array.shape[0] != sum) {
    throw std::runtime_error(spec.name + ": output '" + output.name + "' has shape " + shape_in_words(array.shape) +
                             " for " + std::to_string(sum) + " rows of " + std::to_string(requests.size()) +
                             " requests; its first axis must be the batch");
  }
  if (output.reshape && !output.scattered_like) array.shape = behind_batch(spec, array, *output.reshape);
  const int64_t width = product(std::span(array.shape).subspan(1));
  std::vector<Array> result;
  int64_t begin = 0;
  for (size_t place = 0; place < requests.size(); ++place) {
    Shape shape = array.shape;
    shape[0] = rows[place];
    if (output.scattered_like) shape = reshaped(rows[place] * width, (*requests[place])[of_rows].shape);
    result.push_back(part(array, begin * width, rows[place] * width, std::move(shape)));
    begin += rows[place];
  }
  return result;
}

}  // namespace

std::vector<Requests> runs(const ModelSpec& spec, const Requests& requests) {
  std::vector<Requests> result;
  int64_t filled = 0;
  for (const Request* request : requests) {
    const int64_t size = spec.run_elements ? elements(spec, *request) : 0;
    const bool is_full = spec.run_elements && filled && filled + size > *spec.run_elements;
    if (result.empty() || !spec.max_batch_size || is_full) {
      result.emplace_back();
      filled = 0;
    }
    result.back().push_back(request);
    filled += size;
  }
  return result;
}

Arrays pack(const ModelSpec& spec, const Requests& requests) {
  Arrays feeds;
  for (size_t input = 0; input < spec.inputs.size(); ++input) feeds.push_back(packed(spec, input, requests));
  for (const BatchInputSpec& one : spec.batch_inputs) feeds.push_back(batch_input(one, requests));
  return feeds;
}

std::vector<Arrays> unpack(const ModelSpec& spec, const Requests& requests, const Arrays& outputs) {
  std::vector<Arrays> answers(requests.size());
  for (size_t output = 0; output < spec.outputs.size(); ++output) {
    std::vector<Array> own = parts(spec, spec.outputs[output], requests, outputs[output]);
    for (size_t place = 0; place < requests.size(); ++place) answers[place].push_back(std::move(own[place]));
  }
  return answers;
}

std::vector<Answer> isolated(const ModelSpec& spec, const Requests& requests, const Compute& compute) {
  std::vector<Answer> answers;
  try {
    for (const Requests& run : runs(spec, requests)) {
      for (Arrays& answer : unpack(spec, run, compute(pack(spec, run)))) answers.emplace_back(std::move(answer));
    }
    return answers;
  } catch (const std::exception& error) {
    if (requests.size() == 1) return {Answer(std::string(error.what()))};
  }
  answers.clear();
  for (const Request* request : requests) answers.push_back(std::move(isolated(spec, {request}, compute)[0]));
  return answers;
}

}  // namespace recserve
