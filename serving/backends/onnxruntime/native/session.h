// One model file under ONNX Runtime on the CPU.

#pragma once

#include <string>
#include <vector>

#include "onnx.h"
#include "packing.h"
#include "spec.h"

namespace recserve {

class Session {
 public:
  // Threads and graph level are those of the configuration. Throws std::exception where the file cannot be loaded, or
  // its inputs or outputs are not those of the configuration.
  Session(const Onnx& onnx, const std::string& path, const ModelSpec& spec);

  // As `Compute`; for any thread.
  Arrays run(const Arrays& feeds) const;

 private:
  using Value = Owned<place::ReleaseValue, OrtValue>;

  std::vector<std::string> names_of(bool inputs) const;
  Value value_of(const Array& feed) const;
  Array array_of(std::shared_ptr<const Value> value, const std::string& output) const;

  const Onnx& onnx_;
  std::vector<std::string> inputs_;
  std::vector<std::string> outputs_;
  Owned<place::ReleaseSession, OrtSession> session_;
};

}  // namespace recserve
