#include "model.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <stdexcept>

#include "files.h"
#include "server.h"

namespace recserve {

namespace {

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}

Json config_of(TRITONBACKEND_Model* model) {
  TRITONSERVER_Message* message = nullptr;
  expect(TRITONBACKEND_ModelConfig(model, CONFIG_VERSION, &message));
  return said(message);
}

std::string version_of(TRITONBACKEND_Model* model) {
  uint64_t version = 0;
  expect(TRITONBACKEND_ModelVersion(model, &version));
  return std::to_string(version);
}

std::string folder_of(TRITONBACKEND_Model* model) {
  TRITONBACKEND_ArtifactType type = ARTIFACT_FILESYSTEM;
  const char* location = nullptr;
  expect(TRITONBACKEND_ModelRepository(model, &type, &location));
  if (type != ARTIFACT_FILESYSTEM) throw std::runtime_error("the model does not lie in a folder of this machine");
  return location;
}

}  // namespace

Model::Model(TRITONBACKEND_Model* model, const Onnx& onnx, const std::string& crashes)
    : model_(model),
      name_(base_name(folder_of(model))),
      version_(version_of(model)),
      folder_(folder_of(model) + "/" + version_),
      config_(config_of(model)),
      spec_(ModelSpec::parse(config_)),
      session_(onnx, folder_ + "/" + spec_.filename, spec_),
      observer_(name_, version_, folder_) {
  backlog();  // refuses what is no bound while the model is loaded
  if (!crashes.empty()) quarantine_ = std::make_unique<Quarantine>(crashes, name_, version_);
}

std::optional<Backlog> Model::backlog() const {
  return Backlog::of(config_, [this] { return pending(); });
}

double Model::pending() const {
  struct Delete {
    void operator()(TRITONSERVER_Metrics* one) const { OwnedError(TRITONSERVER_MetricsDelete(one)); }
  };
  constexpr double NOBODY_KNOWS = std::numeric_limits<double>::infinity();
  TRITONSERVER_Server* server = nullptr;
  TRITONSERVER_Metrics* metrics = nullptr;
  const char* base = nullptr;
  size_t size = 0;
  if (OwnedError(TRITONBACKEND_ModelServer(model_, &server))) return NOBODY_KNOWS;
  if (OwnedError(TRITONSERVER_ServerMetrics(server, &metrics))) return NOBODY_KNOWS;
  const std::unique_ptr<TRITONSERVER_Metrics, Delete> owned(metrics);
  if (OwnedError(TRITONSERVER_MetricsFormatted(metrics, METRIC_PROMETHEUS, &base, &size))) return NOBODY_KNOWS;
  return pending_in({base, size}, spec_.name, version_).value_or(NOBODY_KNOWS);
}

void Instance::execute(std::span<TRITONBACKEND_Request*> requests) {
  Times times{};
  times.begin = times.compute_begin = times.compute_end = now_ns();
  std::vector<Exchange> exchanges(requests.begin(), requests.end());
  int64_t rows = 0;
  for (const Exchange& exchange : exchanges) rows += exchange.rows();
  if (is_behind(exchanges)) {
    for (Exchange& exchange : exchanges) refuse(exchange, Reason::QueueFull, backlog_->reason());
  } else {
    try {
      respond(exchanges, times);
    } catch (const std::exception& error) {
      // No request is left without a response: of memory that there was not, say.
      for (Exchange& exchange : exchanges) {
        if (!exchange.is_sent()) refuse(exchange, Reason::Internal, error.what());
      }
    }
  }
  if (backlog_) backlog_->ended();
  report(exchanges, rows, times);
  for (const Exchange& exchange : exchanges) OwnedError(TRITONBACKEND_RequestRelease(exchange.request(), RELEASE_ALL));
}

bool Instance::is_behind(const std::vector<Exchange>& exchanges) {
  if (!backlog_) return false;
  std::vector<int64_t> rows;
  for (const Exchange& exchange : exchanges) rows.push_back(model_.spec().ragged() ? 1 : exchange.rows());
  return backlog_->refuses(rows);
}

void Instance::respond(std::vector<Exchange>& exchanges, Times& times) {
  const ModelSpec& spec = model_.spec();
  std::vector<Request> read(exchanges.size());
  std::vector<Accepted> accepted;
  for (size_t place = 0; place < exchanges.size(); ++place) {
    std::string pattern;
    try {
      read[place] = exchanges[place].read(spec);
      const std::string fault = fault_of_request(read[place], pattern);
      if (!fault.empty()) throw std::invalid_argument(fault);
    } catch (const std::exception& error) {
      refuse(exchanges[place], Reason::Invalid, error.what());
      continue;
    }
    accepted.push_back({&exchanges[place], &read[place], std::move(pattern)});
  }
  times.compute_begin = now_ns();
  const std::vector<Answer> answers = computed(accepted);
  times.compute_end = now_ns();
  for (size_t place = 0; place < answers.size(); ++place) {
    if (const auto* problem = std::get_if<std::string>(&answers[place])) {
      refuse(*accepted[place].exchange, Reason::Internal, "the model failed on this request: " + *problem);
    } else {
      accepted[place].exchange->answer(spec, std::get<Arrays>(answers[place]));
    }
  }
  // What is counted nobody waits for.
  for (const Answer& answer : answers) {
    if (const auto* outputs = std::get_if<Arrays>(&answer)) model_.observer().answered(spec, *outputs);
  }
}

std::string Instance::fault_of_request(const Request& request, std::string& pattern) const {
  const ModelSpec& spec = model_.spec();
  std::string fault = fault_of(spec, request);
  if (!fault.empty() || !flight_) return fault;
  pattern = Quarantine::pattern_of(spec, request);
  fault = model_.quarantine()->refusal(pattern);
  return fault.empty() ? fault : spec.name + ": " + fault;
}

// In the order of the requests; suspects alone, and the others together.
std::vector<Answer> Instance::computed(const std::vector<Accepted>& accepted) {
  std::vector<Answer> answers(accepted.size());
  std::vector<size_t> places;
  std::vector<Accepted> together;
  for (size_t place = 0; place < accepted.size(); ++place) {
    const std::string& pattern = accepted[place].pattern;
    if (flight_ && model_.quarantine()->is_suspect(pattern)) {
      answers[place] = std::move(flown({accepted[place]})[0]);
      model_.quarantine()->acquit(pattern);
    } else {
      places.push_back(place);
      together.push_back(accepted[place]);
    }
  }
  std::vector<Answer> others = flown(together);
  for (size_t place = 0; place < places.size(); ++place) answers[places[place]] = std::move(others[place]);
  return answers;
}

// Of one run, with a record of it where records are kept.
std::vector<Answer> Instance::flown(const std::vector<Accepted>& accepted) {
  if (accepted.empty()) return {};
  Requests requests;
  std::vector<std::string> patterns;
  for (const Accepted& one : accepted) {
    requests.push_back(one.request);
    if (std::find(patterns.begin(), patterns.end(), one.pattern) == patterns.end()) patterns.push_back(one.pattern);
  }
  const Airborne airborne(flight_.get(), patterns);
  return isolated(model_.spec(), requests, [this](const Arrays& feeds) { return model_.session().run(feeds); });
}

void Instance::refuse(Exchange& exchange, Reason reason, const std::string& text) {
  model_.observer().refused(reason);
  switch (reason) {
    case Reason::Invalid: return exchange.refuse(ERROR_INVALID_ARG, text);
    case Reason::Internal: return exchange.refuse(ERROR_INTERNAL, text);
    default: return exchange.refuse(ERROR_UNAVAILABLE, text);
  }
}

void Instance::report(const std::vector<Exchange>& exchanges, int64_t rows, const Times& times) const {
  const uint64_t end = now_ns();
  for (const Exchange& exchange : exchanges) {
    OwnedError(TRITONBACKEND_ModelInstanceReportStatistics(
        instance_, exchange.request(), exchange.is_well(), times.begin, times.compute_begin, times.compute_end, end));
  }
  OwnedError(TRITONBACKEND_ModelInstanceReportBatchStatistics(
      instance_, static_cast<uint64_t>(rows), times.begin, times.compute_begin, times.compute_end, end));
}

}  // namespace recserve
