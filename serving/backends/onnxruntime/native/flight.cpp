#include "flight.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <stdexcept>

#include "files.h"
#include "words.h"

namespace recserve {

namespace {

constexpr size_t RECORD_BYTES = 16384;
constexpr std::array SIGNALS{SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

}  // namespace

struct Flight::Content {
  std::atomic<uint32_t> crash;
  std::atomic<uint32_t> length;
  char text[RECORD_BYTES - 2 * sizeof(std::atomic<uint32_t>)];
};

// Runs in a process that is about to end, so it does what a signal may do and no more.
struct Handler {
  static constexpr size_t MOST = 4096;
  static inline std::array<std::atomic<Flight::Content*>, MOST> records{};
  static inline std::array<struct sigaction, SIGNALS.size()> before{};
  // Laid out when the library is loaded: a handler must not allocate what it looks at.
  [[gnu::tls_model("initial-exec")]] static inline thread_local Flight::Content* own = nullptr;

  static void enter(Flight::Content* content) {
    for (auto& place : records) {
      Flight::Content* nobody = nullptr;
      if (place.compare_exchange_strong(nobody, content)) return;
    }
  }

  static void leave(Flight::Content* content) {
    for (auto& place : records) {
      Flight::Content* expected = content;
      if (place.compare_exchange_strong(expected, nullptr)) return;
    }
  }

  static void handle(int number) {
    if (own && own->length) {
      own->crash = static_cast<uint32_t>(Crash::Here);
    } else {
      mark_all();
    }
    for (size_t place = 0; place < SIGNALS.size(); ++place) {
      if (SIGNALS[place] == number) sigaction(number, &before[place], nullptr);
    }
    raise(number);
  }

  static bool is_ours(int number) {
    struct sigaction now{};
    sigaction(number, nullptr, &now);
    return now.sa_handler == handle;
  }

  // tritonserver sets its own handlers once its models are loaded; so it is looked at again.
  static void see_to_it() {
    static std::mutex mutex;
    if (is_ours(SIGNALS[0])) return;
    const std::lock_guard lock(mutex);
    struct sigaction action{};
    action.sa_handler = handle;
    for (size_t place = 0; place < SIGNALS.size(); ++place) {
      if (!is_ours(SIGNALS[place])) sigaction(SIGNALS[place], &action, &before[place]);
    }
  }

  // Another thread crashed: the server's own, of which what is computed knows nothing, or one of a pool.
  static void mark_all() {
    for (auto& place : records) {
      Flight::Content* content = place.load();
      if (content && content->length) content->crash = static_cast<uint32_t>(Crash::Anywhere);
    }
  }
};

Flight::Flight(const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  void* memory = MAP_FAILED;
  if (file >= 0) {
    if (ftruncate(file, RECORD_BYTES) == 0) {
      memory = mmap(nullptr, RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    close(file);
  }
  if (memory == MAP_FAILED) throw std::runtime_error(path + " cannot be made: " + std::strerror(errno));
  content_ = static_cast<Content*>(memory);
  Handler::enter(content_);
}

Flight::~Flight() {
  Handler::leave(content_);
  munmap(content_, RECORD_BYTES);
}

void Flight::take_off(const std::vector<std::string>& patterns) {
  Handler::see_to_it();
  const std::string text = joined(patterns, "\n");
  const size_t length = std::min(text.size(), sizeof content_->text);
  std::memcpy(content_->text, text.data(), length);
  content_->length = static_cast<uint32_t>(length);
  Handler::own = content_;
}

void Flight::land() {
  Handler::own = nullptr;
  content_->length = 0;
}

Crashed take_record(const std::string& path) {
  const std::string content = read_file(path).value_or("");
  unlink(path.c_str());
  Crashed found{Crash::None, {}};
  uint32_t crash = 0, length = 0;
  if (content.size() != RECORD_BYTES) return found;
  std::memcpy(&crash, content.data(), sizeof crash);
  std::memcpy(&length, content.data() + sizeof crash, sizeof length);
  if (crash == 0 || length == 0 || length > RECORD_BYTES - 2 * sizeof length) return found;
  return {static_cast<Crash>(crash), split(content.substr(2 * sizeof length, length), '\n')};
}

}  // namespace recserve
