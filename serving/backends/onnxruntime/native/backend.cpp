// What tritonserver calls. Nothing is thrown beyond these functions.

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include "model.h"
#include "onnx.h"
#include "prometheus.h"
#include "server.h"
#include "triton.h"

namespace recserve {

namespace {

constexpr uint32_t API_MAJOR = 1;

// An error of the server's API in place of an exception.
template <typename Function>
TRITONSERVER_Error* caught(Function function) {
  try {
    function();
    return nullptr;
  } catch (const std::exception& error) {
    return TRITONSERVER_ErrorNew(ERROR_INTERNAL, error.what());
  } catch (...) {
    return TRITONSERVER_ErrorNew(ERROR_UNKNOWN, "an error that is no std::exception");
  }
}

// The path that --backend-config=onnxruntime,library=PATH names.
std::string library_of(TRITONBACKEND_Backend* backend) {
  TRITONSERVER_Message* message = nullptr;
  expect(TRITONBACKEND_BackendConfig(backend, &message));
  size_t size = 0;
  const char* base = nullptr;
  expect(TRITONSERVER_MessageSerializeToJson(message, &base, &size));  // the message stays the server's
  const std::string path = Json::parse({base, size}).at("cmdline").at("library").text();
  if (path.empty()) {
    throw std::runtime_error("say which ONNX Runtime to use: --backend-config=onnxruntime,library=PATH");
  }
  return path;
}

// A variable of the environment; empty where it is not set.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// What all models share. The series is there from the first model on that this backend loads.
struct Backend {
  Onnx onnx;
  std::string crashes;
  Series restarts;

  explicit Backend(const std::string& library)
      : onnx(library), crashes(variable("RECSERVE_CRASHES")), restarts(families::RESTARTS, {}) {
    restarts.set(std::strtod(variable("RECSERVE_RESTARTS").c_str(), nullptr));
  }
};

Backend& backend_of(TRITONBACKEND_Model* model) {
  TRITONBACKEND_Backend* backend = nullptr;
  void* state = nullptr;
  expect(TRITONBACKEND_ModelBackend(model, &backend));
  expect(TRITONBACKEND_BackendState(backend, &state));
  return *static_cast<Backend*>(state);
}

}  // namespace

}  // namespace recserve

#define EXPORTED extern "C" __attribute__((visibility("default"))) TRITONSERVER_Error*

using namespace recserve;

EXPORTED TRITONBACKEND_Initialize(TRITONBACKEND_Backend* backend) {
  return caught([&] {
    uint32_t major = 0, minor = 0;
    expect(TRITONBACKEND_ApiVersion(&major, &minor));
    if (major != API_MAJOR) throw std::runtime_error("this server's backends are not of API version 1");
    auto state = std::make_unique<Backend>(library_of(backend));
    expect(TRITONBACKEND_BackendSetState(backend, state.get()));
    state.release();
  });
}

EXPORTED TRITONBACKEND_Finalize(TRITONBACKEND_Backend* backend) {
  return caught([&] {
    void* state = nullptr;
    expect(TRITONBACKEND_BackendState(backend, &state));
    delete static_cast<Backend*>(state);
  });
}

EXPORTED TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model) {
  return caught([&] {
    const Backend& backend = backend_of(model);
    auto state = std::make_unique<Model>(model, backend.onnx, backend.crashes);
    expect(TRITONBACKEND_ModelSetState(model, state.get()));
    state.release();
  });
}

EXPORTED TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model) {
  return caught([&] {
    void* state = nullptr;
    expect(TRITONBACKEND_ModelState(model, &state));
    delete static_cast<Model*>(state);
  });
}

EXPORTED TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance* instance) {
  return caught([&] {
    TRITONBACKEND_Model* model = nullptr;
    void* of_model = nullptr;
    expect(TRITONBACKEND_ModelInstanceModel(instance, &model));
    expect(TRITONBACKEND_ModelState(model, &of_model));
    auto state = std::make_unique<Instance>(instance, *static_cast<Model*>(of_model));
    expect(TRITONBACKEND_ModelInstanceSetState(instance, state.get()));
    state.release();
  });
}

EXPORTED TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance* instance) {
  return caught([&] {
    void* state = nullptr;
    expect(TRITONBACKEND_ModelInstanceState(instance, &state));
    delete static_cast<Instance*>(state);
  });
}

EXPORTED TRITONBACKEND_ModelInstanceExecute(
    TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests, uint32_t count) {
  return caught([&] {
    void* state = nullptr;
    expect(TRITONBACKEND_ModelInstanceState(instance, &state));
    static_cast<Instance*>(state)->execute({requests, count});
  });
}
