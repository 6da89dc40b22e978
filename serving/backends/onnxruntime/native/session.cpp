#include "session.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "words.h"

namespace recserve {

namespace {

constexpr int LOG_ERROR = 3;
using Options = Owned<place::ReleaseSessionOptions, OrtSessionOptions>;
using TensorInfo = Owned<place::ReleaseTensorTypeAndShapeInfo, OrtTensorInfo>;

Options options_of(const Onnx& onnx, const ModelSpec& spec) {
  OrtSessionOptions* made = nullptr;
  onnx.call<place::CreateSessionOptions>(&made);
  Options options(onnx, made);
  onnx.call<place::SetIntraOpNumThreads>(made, spec.intra_op_threads);
  onnx.call<place::SetInterOpNumThreads>(made, spec.inter_op_threads);
  onnx.call<place::SetSessionExecutionMode>(made, spec.parallel ? 1 : 0);
  onnx.call<place::SetSessionGraphOptimizationLevel>(made, static_cast<int>(spec.graph_level));
  // Errors alone: it warns of constants that it folded away itself, of which nobody has to know.
  onnx.call<place::SetSessionLogSeverityLevel>(made, LOG_ERROR);
  // An idle pool that spins takes the cores of the next model.
  onnx.call<place::AddSessionConfigEntry>(made, "session.intra_op.allow_spinning", "0");
  onnx.call<place::AddSessionConfigEntry>(made, "session.inter_op.allow_spinning", "0");
  return options;
}

OrtSession* opened(const Onnx& onnx, const std::string& path, const ModelSpec& spec) {
  const Options options = options_of(onnx, spec);
  OrtSession* session = nullptr;
  onnx.call<place::CreateSession>(onnx.env(), path.c_str(), static_cast<const OrtSessionOptions*>(options.get()),
                                  &session);
  return session;
}

using Names = std::set<std::string>;

std::vector<std::string> without(const Names& some, const Names& others) {
  std::vector<std::string> rest;
  std::set_difference(some.begin(), some.end(), others.begin(), others.end(), std::back_inserter(rest));
  return rest;
}

void expect_same(const std::string& model, const std::string& what, const Names& configured, const Names& found) {
  if (configured == found) return;
  throw std::runtime_error(model + ": " + what + " of the configuration and of the graph differ: only configured " +
                           list_in_words(without(configured, found)) + ", only in the graph " +
                           list_in_words(without(found, configured)) + "; export the model again");
}

}  // namespace

Session::Session(const Onnx& onnx, const std::string& path, const ModelSpec& spec)
    : onnx_(onnx), session_(onnx, opened(onnx, path, spec)) {
  for (const InputSpec& one : spec.inputs) inputs_.push_back(one.name);
  for (const BatchInputSpec& one : spec.batch_inputs) inputs_.push_back(one.name);
  for (const OutputSpec& one : spec.outputs) outputs_.push_back(one.name);
  const std::vector<std::string> taken = names_of(true), produced = names_of(false);
  expect_same(spec.name, "inputs", {inputs_.begin(), inputs_.end()}, {taken.begin(), taken.end()});
  const std::vector<std::string> lacking =
      without({outputs_.begin(), outputs_.end()}, {produced.begin(), produced.end()});
  expect_same(spec.name, "outputs", {lacking.begin(), lacking.end()}, {});
}

std::vector<std::string> Session::names_of(bool inputs) const {
  const OrtSession* session = session_.get();
  size_t count = 0;
  if (inputs) {
    onnx_.call<place::SessionGetInputCount>(session, &count);
  } else {
    onnx_.call<place::SessionGetOutputCount>(session, &count);
  }
  std::vector<std::string> names;
  for (size_t number = 0; number < count; ++number) {
    char* name = nullptr;
    if (inputs) {
      onnx_.call<place::SessionGetInputName>(session, number, onnx_.allocator(), &name);
    } else {
      onnx_.call<place::SessionGetOutputName>(session, number, onnx_.allocator(), &name);
    }
    names.emplace_back(name);
    onnx_.call<place::AllocatorFree>(onnx_.allocator(), static_cast<void*>(name));
  }
  return names;
}

Session::Value Session::value_of(const Array& feed) const {
  OrtValue* value = nullptr;
  if (feed.dtype->kind != Kind::Text) {
    // ONNX Runtime does not write to a feed.
    void* data = const_cast<std::byte*>(feed.data.data());
    onnx_.call<place::CreateTensorWithDataAsOrtValue>(onnx_.memory(), data, feed.data.size(), feed.shape.data(),
                                                      feed.shape.size(), feed.dtype->onnx, &value);
    return {onnx_, value};
  }
  onnx_.call<place::CreateTensorAsOrtValue>(onnx_.allocator(), feed.shape.data(), feed.shape.size(), feed.dtype->onnx,
                                            &value);
  Value owned(onnx_, value);
  // It reads each up to its NUL, which no text has that passed the check.
  const std::vector<std::string> texts(feed.texts.begin(), feed.texts.end());
  std::vector<const char*> starts;
  for (const std::string& text : texts) starts.push_back(text.c_str());
  onnx_.call<place::FillStringTensor>(value, static_cast<const char* const*>(starts.data()), starts.size());
  return owned;
}

Arrays Session::run(const Arrays& feeds) const {
  std::vector<Value> values;
  std::vector<const OrtValue*> pointers;
  std::vector<const char*> inputs, outputs;
  for (const Array& feed : feeds) pointers.push_back(values.emplace_back(value_of(feed)).get());
  for (const std::string& name : inputs_) inputs.push_back(name.c_str());
  for (const std::string& name : outputs_) outputs.push_back(name.c_str());
  std::vector<OrtValue*> produced(outputs_.size(), nullptr);
  onnx_.call<place::Run>(session_.get(), static_cast<const OrtRunOptions*>(nullptr),
                         static_cast<const char* const*>(inputs.data()),
                         static_cast<const OrtValue* const*>(pointers.data()), pointers.size(),
                         static_cast<const char* const*>(outputs.data()), outputs.size(), produced.data());
  std::vector<std::shared_ptr<const Value>> owned;
  for (OrtValue* value : produced) owned.push_back(std::make_shared<const Value>(onnx_, value));
  Arrays arrays;
  for (size_t place = 0; place < owned.size(); ++place) arrays.push_back(array_of(owned[place], outputs_[place]));
  return arrays;
}

Array Session::array_of(std::shared_ptr<const Value> value, const std::string& output) const {
  int is_tensor = 0;
  onnx_.call<place::IsTensor>(static_cast<const OrtValue*>(value->get()), &is_tensor);
  if (!is_tensor) throw std::runtime_error("output '" + output + "' is no tensor");
  OrtTensorInfo* found = nullptr;
  onnx_.call<place::GetTensorTypeAndShape>(static_cast<const OrtValue*>(value->get()), &found);
  const TensorInfo info(onnx_, found);
  int type = 0;
  size_t axes = 0;
  onnx_.call<place::GetTensorElementType>(static_cast<const OrtTensorInfo*>(found), &type);
  onnx_.call<place::GetDimensionsCount>(static_cast<const OrtTensorInfo*>(found), &axes);
  Array array{dtype_of_onnx(type), Shape(axes), {}, {}, nullptr};
  onnx_.call<place::GetDimensions>(static_cast<const OrtTensorInfo*>(found), array.shape.data(), axes);
  if (!array.dtype) throw std::runtime_error("output '" + output + "' is of a type that no client can be sent");
  const auto size = static_cast<size_t>(array.size());
  if (array.dtype->kind != Kind::Text) {
    void* data = nullptr;
    onnx_.call<place::GetTensorMutableData>(value->get(), &data);
    array.data = {static_cast<const std::byte*>(data), size * array.dtype->bytes};
    array.keep = std::move(value);
    return array;
  }
  size_t bytes = 0;
  onnx_.call<place::GetStringTensorDataLength>(static_cast<const OrtValue*>(value->get()), &bytes);
  auto content = std::make_shared<std::string>(bytes, '\0');
  std::vector<size_t> starts(size);
  onnx_.call<place::GetStringTensorContent>(static_cast<const OrtValue*>(value->get()),
                                            static_cast<void*>(content->data()), bytes, starts.data(), size);
  for (size_t number = 0; number < size; ++number) {
    const size_t end = number + 1 < size ? starts[number + 1] : bytes;
    array.texts.emplace_back(content->data() + starts[number], end - starts[number]);
  }
  array.keep = std::move(content);
  return array;
}

}  // namespace recserve
