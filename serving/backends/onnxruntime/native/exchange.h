// One request of the server, and its response.

#pragma once

#include <string>

#include "check.h"
#include "packing.h"
#include "spec.h"
#include "triton.h"

namespace recserve {

class Exchange {
 public:
  explicit Exchange(TRITONBACKEND_Request* request) : request_(request) {}

  TRITONBACKEND_Request* request() const { return request_; }
  bool is_sent() const { return is_sent_; }  // whether its response is on its way
  bool is_well() const { return is_well_; }  // whether that is an answer, and no refusal

  // The inputs, which live as long as the request. Throws std::invalid_argument where their bytes do not fit their
  // shapes.
  Request read(const ModelSpec& spec) const;

  // Rows of the first input that was sent.
  int64_t rows() const;

  // Sends the outputs that the client wants; what it cannot be sent becomes an error. Either is to be called once.
  void answer(const ModelSpec& spec, const Arrays& outputs);
  void refuse(TRITONSERVER_Error_Code code, const std::string& text);

 private:
  void write(TRITONBACKEND_Response* response, const OutputSpec& output, const Array& array) const;

  TRITONBACKEND_Request* request_;
  bool is_sent_ = false;
  bool is_well_ = false;
};

}  // namespace recserve
