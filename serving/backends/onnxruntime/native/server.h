// Triton's errors and messages as exceptions and JSON.

#pragma once

#include <memory>
#include <string>

#include "json.h"
#include "triton.h"

namespace recserve {

// Throws std::runtime_error in the server's words where a call of its API failed.
void expect(TRITONSERVER_Error* error);

struct DeleteError {
  void operator()(TRITONSERVER_Error* error) const { TRITONSERVER_ErrorDelete(error); }
};
using OwnedError = std::unique_ptr<TRITONSERVER_Error, DeleteError>;

// What a message says, which is deleted.
Json said(TRITONSERVER_Message* message);

void warn(const std::string& text);

}  // namespace recserve
