// Files of a version.

#pragma once

#include <optional>
#include <string>

namespace recserve {

// The content of a file; nothing where there is none.
std::optional<std::string> read_file(const std::string& path);

// The last part of a path.
std::string base_name(std::string path);

}  // namespace recserve
