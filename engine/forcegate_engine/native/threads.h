// Threads that stay, and work together on one call at a time.
#pragma once

#include <cstdint>
#include <mutex>

#include "plain.h"

namespace forcegate {

// How many processors this process may use.
int processors();

// A team of one: the caller.
Team alone();

// The threads of this process while a call has them. A second call at the same time works alone, on
// the thread that made it: results are the same. After a fork the child makes threads of its own.
class SharedTeam {
 public:
  explicit SharedTeam(int threads);
  ~SharedTeam();
  SharedTeam(const SharedTeam&) = delete;
  Team& team() { return team_; }

 private:
  Team team_;
  bool owned_;
};

}  // namespace forcegate
