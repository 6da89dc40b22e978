// The native backend without a server and without ONNX Runtime, for its tests: a configuration and requests in files,
// what becomes of them in lines; or requests drawn and broken at random, of which nothing is asked but an orderly end.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "backlog.h"
#include "check.h"
#include "files.h"
#include "input.h"
#include "json.h"
#include "packing.h"
#include "spec.h"
#include "texts.h"
#include "words.h"

using namespace recserve;

namespace {

// Reads what tests/serving/native/harness.py writes.
class Reader {
 public:
  explicit Reader(std::string content) : content_(std::move(content)) {}
  bool is_done() const { return place_ == content_.size(); }

  int64_t number() {
    int64_t value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::span<const std::byte> take(size_t bytes) {
    if (content_.size() - place_ < bytes) throw std::runtime_error("the file of requests is cut off");
    const auto* start = reinterpret_cast<const std::byte*>(content_.data()) + place_;
    place_ += bytes;
    return {start, bytes};
  }

 private:
  std::string content_;
  size_t place_ = 0;
};

Request read(const ModelSpec& spec, Reader& reader) {
  Request request;
  for (const InputSpec& field : spec.inputs) {
    const Dtype* dtype = dtype_of_triton(static_cast<int>(reader.number()));
    Shape shape(static_cast<size_t>(reader.number()));
    for (int64_t& axis : shape) axis = reader.number();
    const auto bytes = reader.take(static_cast<size_t>(reader.number()));
    request.push_back(array_of_bytes(field.name, dtype, shape, bytes, nullptr));
  }
  return request;
}

std::string content_of(const Array& array) {
  if (array.dtype->kind != Kind::Text) return {reinterpret_cast<const char*>(array.data.data()), array.data.size()};
  std::string bytes(serialized_bytes(array.texts), '\0');
  serialize_texts(array.texts, reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

std::string hexadecimal(const std::string& bytes) {
  std::string text;
  for (const char one : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(static_cast<unsigned char>(one)));
    text += digits;
  }
  return text;
}

// A line for each request: why it is refused, or its feeds.
void replay(const ModelSpec& spec, const std::string& path) {
  Reader reader(read_file(path).value());
  while (!reader.is_done()) {
    const Request request = read(spec, reader);
    std::string line = fault_of(spec, request);
    if (line.empty()) {
      for (const Array& feed : pack(spec, {&request})) {
        line += std::string(feed.dtype->numpy) + shape_in_words(feed.shape) + hexadecimal(content_of(feed)) + " ";
      }
    }
    std::printf("%s\n", line.c_str());
  }
}

class Fuzz {
 public:
  Fuzz(const ModelSpec& spec, unsigned seed) : spec_(spec), random_(seed) {}

  void batch(size_t number) {
    std::vector<Request> requests;
    for (size_t place = 0; place < number; ++place) {
      try {
        Request one = request();
        if (fault_of(spec_, one).empty()) requests.push_back(std::move(one));
      } catch (const std::invalid_argument&) {
        ++malformed;
      }
    }
    asked += number;
    passed += requests.size();
    Requests pointers;
    for (const Request& one : requests) pointers.push_back(&one);
    if (pointers.empty()) return;
    if (isolated(spec_, pointers, [this](const Arrays& feeds) { return outputs(feeds); }).size() != requests.size()) {
      throw std::logic_error("not one answer for each request");
    }
  }

  // A configuration with bytes changed: read or refused.
  void config(std::string text) {
    for (size_t change = 0; change < 1 + below(4); ++change) text[below(text.size())] = static_cast<char>(below(256));
    try {
      const Json json = Json::parse(text);
      ModelSpec::parse(json);
      Backlog::of(json, [] { return 0.0; });
    } catch (const std::exception&) {
      ++malformed;
    }
  }

  size_t asked = 0, passed = 0, malformed = 0;

 private:
  size_t below(size_t end) { return std::uniform_int_distribution<size_t>(0, end - 1)(random_); }
  bool rarely() { return below(24) == 0; }

  Request request() {
    Request request;
    const int64_t rows = spec_.ragged() ? 1 : static_cast<int64_t>(1 + below(3));
    const auto length = static_cast<int64_t>(below(9));
    for (const InputSpec& field : spec_.inputs) request.push_back(array(field, rows, rarely() ? length + 1 : length));
    return request;
  }

  Array array(const InputSpec& field, int64_t rows, int64_t length) {
    Shape shape{rows, length};
    if (!spec_.max_batch_size) shape.erase(shape.begin());
    if (rarely()) shape.push_back(static_cast<int64_t>(below(4)) - 1);
    if (rarely()) shape.assign(below(5), INT64_MAX / static_cast<int64_t>(1 + below(9)));
    const Dtype* dtype = rarely() ? dtype_of_triton(static_cast<int>(below(16))) : field.dtype;
    auto bytes = std::make_shared<std::string>(content(dtype, shape));
    if (rarely()) bytes->resize(below(bytes->size() + 9), 'x');
    // A copy of its own size, so that one byte beyond is seen.
    auto exact = std::make_shared<std::vector<std::byte>>(bytes->size());
    if (!bytes->empty()) std::memcpy(exact->data(), bytes->data(), bytes->size());
    return array_of_bytes(field.name, dtype, shape, *exact, exact);
  }

  std::string content(const Dtype* dtype, const Shape& shape) {
    size_t size = 1;
    for (const int64_t axis : shape) {
      size = std::min<size_t>(100, size * static_cast<size_t>(std::clamp<int64_t>(axis, 0, 1000)));
    }
    std::string bytes;
    for (size_t place = 0; dtype && place < size; ++place) bytes += dtype->kind == Kind::Text ? text() : number(*dtype);
    return bytes;
  }

  std::string number(const Dtype& dtype) {
    std::string bytes(dtype.bytes, '\0');
    // Small whole numbers for the most part, which pass.
    bytes[0] = static_cast<char>(below(dtype.kind == Kind::Bool ? 2 : 6));
    if (rarely()) {
      for (char& one : bytes) one = static_cast<char>(below(256));
    }
    return bytes;
  }

  std::string text() {
    std::string letters;
    for (size_t place = below(6); place > 0; --place) {
      letters.push_back(static_cast<char>(rarely() ? below(256) : 'a' + below(26)));
    }
    auto length = static_cast<uint32_t>(letters.size());
    if (rarely() && rarely()) length = static_cast<uint32_t>(random_());
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + letters;
  }

  // What a graph might make of the feeds: as many rows, or not.
  Arrays outputs(const Arrays& feeds) {
    if (rarely()) throw std::runtime_error("the run failed");
    Arrays outputs;
    for (const OutputSpec& output : spec_.outputs) {
      const size_t like = output.scattered_like.value_or(0);
      Array made = feeds.at(like);
      if (rarely()) made.shape.assign(below(3), static_cast<int64_t>(below(4)));
      if (made.size() != (made.dtype->kind == Kind::Text
                              ? static_cast<int64_t>(made.texts.size())
                              : static_cast<int64_t>(made.data.size() / made.dtype->bytes))) {
        throw std::runtime_error("the run failed otherwise");
      }
      outputs.push_back(made);
    }
    return outputs;
  }

  const ModelSpec& spec_;
  std::mt19937 random_;
};

// Judgements of batches of 10 ms a request behind a queue of a known length: `full` or refused.
void queue(const Json& config, double waiting, int batches, int requests, int rows) {
  double now = 0;
  const auto read = Backlog::of(config, [] { return 0.0; });
  if (!read) throw std::runtime_error("no bound");
  Backlog backlog(8, 0.5, [&] { return waiting; }, 1, [&] { return Backlog::Seconds(now); });
  for (int batch = 0; batch < batches; ++batch) {
    const bool refused = backlog.refuses(std::vector<int64_t>(static_cast<size_t>(requests), rows));
    now += refused ? 0.001 : 0.01 * requests;
    backlog.ended();
    std::putchar(refused ? '1' : '0');
  }
  std::printf("\n%s\n", read->reason().c_str());
}

}  // namespace

int main(int count, char** words) {
  try {
    const std::vector<std::string> given(words + 1, words + count);
    const std::string text = read_file(given.at(1)).value();
    const Json config = Json::parse(text);
    if (given[0] == "queue") {
      queue(config, std::stod(given.at(2)), std::stoi(given.at(3)), std::stoi(given.at(4)), std::stoi(given.at(5)));
      return 0;
    }
    const ModelSpec spec = ModelSpec::parse(config);
    if (given[0] == "replay") {
      replay(spec, given.at(2));
      return 0;
    }
    Fuzz fuzz(spec, static_cast<unsigned>(std::stoul(given.at(2))));
    const size_t number = std::stoul(given.at(3));
    while (fuzz.asked < number) {
      fuzz.batch(1 + fuzz.asked % 5);
      fuzz.config(text);
    }
    std::printf("%zu requests, %zu passed, %zu malformed\n", fuzz.asked, fuzz.passed, fuzz.malformed);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
