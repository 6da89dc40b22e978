// What a model is computing, in a file that outlives the server: where that crashes, the next one reads what it was.

#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace recserve {

enum class Crash : uint32_t {
  None = 0,
  Here = 1,      // in the thread that computed this
  Anywhere = 2,  // in another thread, while this was computed
};

// One instance's record.
class Flight {
 public:
  // Makes the file anew. Throws std::runtime_error where it cannot be made.
  explicit Flight(const std::string& path);
  ~Flight();
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  // Tells what is being computed from now on by this thread, until `land`; what is too long for a record is cut. A
  // crash is marked in the records, and whatever handles it otherwise comes next.
  void take_off(const std::vector<std::string>& patterns);
  void land();

 private:
  struct Content;
  friend struct Handler;

  Content* content_;
};

// As long as it is there, something is being computed.
class Airborne {
 public:
  // `flight` may be null, where nobody keeps records.
  Airborne(Flight* flight, const std::vector<std::string>& patterns) : flight_(flight) {
    if (flight_) flight_->take_off(patterns);
  }
  ~Airborne() {
    if (flight_) flight_->land();
  }
  Airborne(const Airborne&) = delete;
  Airborne& operator=(const Airborne&) = delete;

 private:
  Flight* flight_;
};

struct Crashed {
  Crash crash;
  std::vector<std::string> patterns;  // that were being computed
};

// What a record says that a server left behind, which is then removed.
Crashed take_record(const std::string& path);

}  // namespace recserve
