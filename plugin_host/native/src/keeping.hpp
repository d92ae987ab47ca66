// Accepted takes as text of the host's session, and as files in the project's folder.
#pragma once

#include <memory>
#include <string>

#include "values.hpp"

namespace jukebox {

constexpr double kMaxInlineSeconds = 32.0;

// Returns the line that keeps a take: in a file of `folder`, or within the line where there is none.
// On failure it is empty, and `wrong` says why.
std::string kept_line(const Take& take, const std::string& id, int sample_rate, const std::string& folder,
                      std::string& wrong);

// Returns the take of a line, or nothing, and what is wrong.
std::unique_ptr<Take> take_of_line(const std::string& line, int sample_rate, const std::string& folder,
                                   std::string& wrong);

}  // namespace jukebox
