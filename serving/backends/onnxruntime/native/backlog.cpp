#include "backlog.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <stdexcept>

namespace recserve {

namespace {

const std::string PARAMETER = "max_backlog_ms";
constexpr double ASKED_PER_PATIENCE = 4;
constexpr double SMOOTHING = 0.2;  // weight of the newest batch in the mean time of a request

Backlog::Seconds steady_now() { return std::chrono::steady_clock::now().time_since_epoch(); }

}  // namespace

Backlog::Backlog(int64_t max_batch_size, double patience_s, Pending pending, int64_t instances, Clock clock)
    : max_batch_size_(max_batch_size),
      patience_s_(patience_s),
      pending_(std::move(pending)),
      instances_(static_cast<double>(instances)),
      clock_(std::move(clock)) {}

std::optional<Backlog> Backlog::of(const Json& config, Pending pending) {
  const Json* parameter = config.at("parameters").at(PARAMETER).find("string_value");
  if (!parameter) return std::nullopt;
  const std::string text = parameter->text();
  const bool is_number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  const double patience_ms = is_number ? std::strtod(text.c_str(), nullptr) : 0;
  if (patience_ms <= 0) {
    throw std::invalid_argument(config.at("name").text() + ": parameter '" + PARAMETER + "' is '" + text +
                                "'; write milliseconds, at least 1");
  }
  int64_t instances = 0;
  for (const Json& group : config.at("instance_group").items()) instances += group.at("count").integer(1);
  return Backlog(config.at("max_batch_size").integer(0), patience_ms / 1e3, std::move(pending),
                 std::max<int64_t>(instances, 1), steady_now);
}

bool Backlog::refuses(const std::vector<int64_t>& rows) {
  const Seconds now = clock_();
  const auto requests = static_cast<double>(rows.size());
  const int64_t filled = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  if (filled + *std::max_element(rows.begin(), rows.end()) <= max_batch_size_) {
    full_since_.reset();
    started_ = {now, requests};
    return false;
  }
  if (!full_since_) full_since_ = now;
  const bool is_long = (now - *full_since_).count() > patience_s_ && wait_s(now) > patience_s_;
  waiting_ -= requests;
  if (!is_long) started_ = {now, requests};
  return is_long;
}

void Backlog::ended() {
  if (!started_) return;
  const double taken = (clock_() - started_->at).count() / started_->requests;
  started_.reset();
  request_s_ = request_s_ ? *request_s_ + SMOOTHING * (taken - *request_s_) : taken;
}

std::string Backlog::reason() const {
  char patience[32];
  std::snprintf(patience, sizeof patience, "%g", 1e3 * patience_s_);
  return "the queue is full: a request would wait for more than " + std::string(patience) + " ms";
}

double Backlog::wait_s(Seconds now) {
  if (!asked_ || (now - *asked_).count() > patience_s_ / ASKED_PER_PATIENCE) {
    asked_ = now;
    waiting_ = pending_();
  }
  return waiting_ * request_s_.value_or(0) / instances_;
}

std::optional<double> pending_in(const std::string& metrics, const std::string& model, const std::string& version) {
  const std::string series =
      "\nnv_inference_pending_request_count{model=\"" + model + "\",version=\"" + version + "\"} ";
  const size_t at = metrics.find(series);
  if (at == std::string::npos) return std::nullopt;
  return std::strtod(metrics.c_str() + at + series.size(), nullptr);
}

}  // namespace recserve
