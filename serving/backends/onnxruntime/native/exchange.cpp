#include "exchange.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <stdexcept>
#include <string_view>

#include "input.h"
#include "server.h"
#include "texts.h"

namespace recserve {

namespace {

struct DeleteResponse {
  void operator()(TRITONBACKEND_Response* one) const { OwnedError(TRITONBACKEND_ResponseDelete(one)); }
};
using Response = std::unique_ptr<TRITONBACKEND_Response, DeleteResponse>;

Response response_to(TRITONBACKEND_Request* request) {
  TRITONBACKEND_Response* made = nullptr;
  expect(TRITONBACKEND_ResponseNew(&made, request));
  return Response(made);
}

struct Properties {
  TRITONSERVER_DataType type;
  std::span<const int64_t> shape;
  uint64_t bytes;
  uint32_t buffers;
};

Properties properties_of(TRITONBACKEND_Input* input) {
  Properties found{};
  const char* name = nullptr;
  const int64_t* axes = nullptr;
  uint32_t count = 0;
  expect(TRITONBACKEND_InputProperties(input, &name, &found.type, &axes, &count, &found.bytes, &found.buffers));
  found.shape = {axes, count};
  return found;
}

std::span<const std::byte> buffer_of(TRITONBACKEND_Input* input, uint32_t number) {
  const void* data = nullptr;
  uint64_t bytes = 0;
  TRITONSERVER_MemoryType memory = MEMORY_CPU;
  int64_t memory_id = 0;
  expect(TRITONBACKEND_InputBuffer(input, number, &data, &bytes, &memory, &memory_id));
  if (memory == MEMORY_GPU) throw std::runtime_error("an input lies in a GPU's memory");
  return {static_cast<const std::byte*>(data), bytes};
}

Array array_of_input(const std::string& name, TRITONBACKEND_Input* input) {
  const Properties found = properties_of(input);
  const Dtype* dtype = dtype_of_triton(found.type);
  if (found.buffers == 1) return array_of_bytes(name, dtype, found.shape, buffer_of(input, 0), nullptr);
  auto whole = std::make_shared<std::vector<std::byte>>();
  for (uint32_t number = 0; number < found.buffers; ++number) {
    const auto part = buffer_of(input, number);
    whole->insert(whole->end(), part.begin(), part.end());
  }
  return array_of_bytes(name, dtype, found.shape, *whole, whole);
}

std::set<std::string_view> wanted_of(TRITONBACKEND_Request* request) {
  uint32_t count = 0;
  expect(TRITONBACKEND_RequestOutputCount(request, &count));
  std::set<std::string_view> wanted;
  for (uint32_t number = 0; number < count; ++number) {
    const char* name = nullptr;
    expect(TRITONBACKEND_RequestOutputName(request, number, &name));
    wanted.insert(name);
  }
  return wanted;
}

}  // namespace

Request Exchange::read(const ModelSpec& spec) const {
  Request request(spec.inputs.size());
  for (size_t place = 0; place < request.size(); ++place) {
    const std::string& name = spec.inputs[place].name;
    TRITONBACKEND_Input* input = nullptr;
    const OwnedError missing(TRITONBACKEND_RequestInput(request_, name.c_str(), &input));
    if (missing) continue;
    try {
      request[place] = array_of_input(name, input);
    } catch (const std::exception& error) {
      throw std::invalid_argument(spec.name + ": " + error.what());
    }
  }
  return request;
}

int64_t Exchange::rows() const {
  TRITONBACKEND_Input* input = nullptr;
  expect(TRITONBACKEND_RequestInputByIndex(request_, 0, &input));
  const Properties found = properties_of(input);
  return found.shape.empty() ? 1 : found.shape[0];
}

void Exchange::answer(const ModelSpec& spec, const Arrays& outputs) {
  try {
    Response response = response_to(request_);
    const std::set<std::string_view> wanted = wanted_of(request_);
    for (size_t place = 0; place < outputs.size(); ++place) {
      if (wanted.contains(spec.outputs[place].name)) write(response.get(), spec.outputs[place], outputs[place]);
    }
    is_sent_ = is_well_ = true;
    expect(TRITONBACKEND_ResponseSend(response.release(), RESPONSE_FINAL, nullptr));
  } catch (const std::exception& error) {
    // A response that was handed over is the server's, whatever came of it.
    if (is_sent_) return warn(spec.name + ": a response was not sent: " + error.what());
    refuse(ERROR_INTERNAL, error.what());
  }
}

void Exchange::write(TRITONBACKEND_Response* response, const OutputSpec& output, const Array& array) const {
  TRITONBACKEND_Output* target = nullptr;
  const auto type = static_cast<TRITONSERVER_DataType>(array.dtype->triton);
  const auto axes = static_cast<uint32_t>(array.shape.size());
  expect(TRITONBACKEND_ResponseOutput(response, &target, output.name.c_str(), type, array.shape.data(), axes));
  const bool is_text = array.dtype->kind == Kind::Text;
  const size_t bytes = is_text ? serialized_bytes(array.texts) : array.data.size();
  void* buffer = nullptr;
  TRITONSERVER_MemoryType memory = MEMORY_CPU;
  int64_t memory_id = 0;
  expect(TRITONBACKEND_OutputBuffer(target, &buffer, bytes, &memory, &memory_id));
  if (memory == MEMORY_GPU) throw std::runtime_error("output '" + output.name + "' is wanted in a GPU's memory");
  if (is_text) {
    serialize_texts(array.texts, static_cast<std::byte*>(buffer));
  } else if (bytes) {
    std::memcpy(buffer, array.data.data(), bytes);
  }
}

void Exchange::refuse(TRITONSERVER_Error_Code code, const std::string& text) {
  const OwnedError reason(TRITONSERVER_ErrorNew(code, text.c_str()));
  is_sent_ = true;
  try {
    expect(TRITONBACKEND_ResponseSend(response_to(request_).release(), RESPONSE_FINAL, reason.get()));
  } catch (const std::exception& error) {
    warn("a refusal was not sent: " + std::string(error.what()));
  }
}

}  // namespace recserve
