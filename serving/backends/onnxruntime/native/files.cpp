#include "files.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace recserve {

namespace {

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

}  // namespace

std::optional<std::string> read_file(const std::string& path) {
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.number < 0) return std::nullopt;
  std::string content;
  std::array<char, 65536> part;
  ssize_t bytes = 0;
  while ((bytes = read(file.number, part.data(), part.size())) > 0) {
    content.append(part.data(), static_cast<size_t>(bytes));
  }
  if (bytes < 0) throw std::runtime_error(path + " cannot be read");
  return content;
}

std::string base_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const size_t at = path.rfind('/');
  return at == std::string::npos ? path : path.substr(at + 1);
}

}  // namespace recserve
