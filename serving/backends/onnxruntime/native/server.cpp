#include "server.h"

#include <stdexcept>

namespace recserve {

void expect(TRITONSERVER_Error* error) {
  if (!error) return;
  const OwnedError owned(error);
  throw std::runtime_error(TRITONSERVER_ErrorMessage(error));
}

Json said(TRITONSERVER_Message* message) {
  struct Delete {
    void operator()(TRITONSERVER_Message* one) const { OwnedError(TRITONSERVER_MessageDelete(one)); }
  };
  const std::unique_ptr<TRITONSERVER_Message, Delete> owned(message);
  const char* base = nullptr;
  size_t size = 0;
  expect(TRITONSERVER_MessageSerializeToJson(message, &base, &size));
  return Json::parse({base, size});
}

void warn(const std::string& text) { OwnedError(TRITONSERVER_LogMessage(LOG_WARN, __FILE__, __LINE__, text.c_str())); }

}  // namespace recserve
