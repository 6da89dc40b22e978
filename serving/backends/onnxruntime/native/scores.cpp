#include "scores.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "files.h"
#include "json.h"
#include "words.h"

namespace recserve {

namespace {

constexpr double NO_SCORE = -1e9;  // it and what is below is no score
constexpr double PRIOR = 0.5;      // scores added to each bin
constexpr double LEAST_REQUESTS = 1000;
constexpr double MOST_REQUESTS = 20000;  // of which drift speaks; then the older half weighs half

std::vector<double> numbers(const Json& list) {
  std::vector<double> result;
  for (const Json& one : list.items()) result.push_back(one.number());
  return result;
}

std::vector<double> shares_of(const std::vector<double>& counts) {
  const double sum = std::accumulate(counts.begin(), counts.end(), PRIOR * static_cast<double>(counts.size()));
  std::vector<double> shares;
  for (const double count : counts) shares.push_back((count + PRIOR) / sum);
  return shares;
}

double drift_of(const std::vector<double>& expected, const std::vector<double>& actual) {
  double sum = 0;
  for (size_t bin = 0; bin < expected.size(); ++bin) {
    sum += (actual[bin] - expected[bin]) * std::log(actual[bin] / expected[bin]);
  }
  return sum;
}

template <typename T>
double element(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return static_cast<double>(value);
}

double element(const Array& array, size_t place) {
  const std::byte* data = array.data.data() + place * array.dtype->bytes;
  switch (array.dtype->kind) {
    case Kind::Bool:
    case Kind::Uint8: return element<uint8_t>(data);
    case Kind::Int8: return element<int8_t>(data);
    case Kind::Int16: return element<int16_t>(data);
    case Kind::Uint16: return element<uint16_t>(data);
    case Kind::Int32: return element<int32_t>(data);
    case Kind::Uint32: return element<uint32_t>(data);
    case Kind::Int64: return element<int64_t>(data);
    case Kind::Uint64: return element<uint64_t>(data);
    case Kind::Fp32: return element<float>(data);
    case Kind::Fp64: return element<double>(data);
    case Kind::Fp16: return of_half(static_cast<uint16_t>(element<uint16_t>(data)));
    case Kind::Text: break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

std::string bin_name(size_t bin) { return (bin < 10 ? "0" : "") + std::to_string(bin); }

std::string edge_name(double edge) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", edge);
  return text;
}

bool are_bins(const Reference& reference) {
  const std::vector<double>& edges = reference.edges;
  const auto is_no_rise = [](double one, double next) { return !(one < next); };
  const bool rise = std::adjacent_find(edges.begin(), edges.end(), is_no_rise) == edges.end();
  return reference.counts.size() == edges.size() + 1 && rise &&
         std::all_of(edges.begin(), edges.end(), [](double edge) { return std::isfinite(edge); }) &&
         std::all_of(reference.counts.begin(), reference.counts.end(), [](double count) { return count >= 0; });
}

}  // namespace

std::optional<Reference> Reference::read(const std::string& folder) {
  const std::string path = folder + "/reference.json";
  const std::optional<std::string> content = read_file(path);
  if (!content) return std::nullopt;
  std::string reason = "its edges and counts are no bins";
  try {
    const Json said = Json::parse(*content);
    const Json& scores = said.at("scores");
    Reference reference{said.at("source").text(), said.at("output").text(), numbers(scores.at("edges")),
                        numbers(scores.at("counts"))};
    if (are_bins(reference)) return reference;
  } catch (const std::invalid_argument& error) {
    reason = error.what();
  }
  throw std::runtime_error(path + " holds no reference of scores (" + reason + "): export the model again");
}

std::vector<double> Reference::shares() const { return shares_of(counts); }

Scores::Scores(const std::string& model, const std::string& version, Reference reference)
    : reference_(std::move(reference)),
      expected_(reference_.shares()),
      number_(families::SCORE_COUNT, {model, version}),
      not_finite_(families::SCORE_NOT_FINITE, {model, version}),
      drift_(families::SCORE_DRIFT, {model, version, reference_.source}),
      recent_(expected_.size(), 0) {
  for (size_t bin = 0; bin < expected_.size(); ++bin) {
    const std::string edge = bin < reference_.edges.size() ? edge_name(reference_.edges[bin]) : "+Inf";
    gauges_.emplace_back(families::SCORE_EXPECTED,
                         std::vector{model, version, bin_name(bin), reference_.source});
    gauges_.back().set(expected_[bin]);
    bins_.emplace_back(families::SCORE_BIN, std::vector{model, version, bin_name(bin)});
    buckets_.emplace_back(families::SCORE_BUCKET, std::vector{model, version, edge});
  }
  drift_.set(std::numeric_limits<double>::quiet_NaN());
}

void Scores::add(const Array& scores) {
  std::vector<double> bins(expected_.size(), 0);
  double not_finite = 0;
  for (size_t place = 0; place < static_cast<size_t>(scores.size()); ++place) {
    const double score = element(scores, place);
    if (!std::isfinite(score)) {
      ++not_finite;
    } else if (score > NO_SCORE) {
      const auto edge = std::lower_bound(reference_.edges.begin(), reference_.edges.end(), score);
      ++bins[static_cast<size_t>(edge - reference_.edges.begin())];
    }
  }
  tell(bins, not_finite);
}

void Scores::tell(const std::vector<double>& bins, double not_finite) {
  double sum = 0;
  for (size_t bin = 0; bin < bins.size(); ++bin) {
    sum += bins[bin];
    if (bins[bin] > 0) bins_[bin].add(bins[bin]);
    if (sum > 0) buckets_[bin].add(sum);
  }
  if (sum > 0) number_.add(sum);
  if (not_finite > 0) not_finite_.add(not_finite);
  const std::lock_guard lock(mutex_);
  std::transform(recent_.begin(), recent_.end(), bins.begin(), recent_.begin(), std::plus<>());
  ++requests_;
  if (requests_ >= MOST_REQUESTS) {
    requests_ /= 2;
    for (double& one : recent_) one /= 2;
  }
  if (requests_ >= LEAST_REQUESTS) drift_.set(drift_of(expected_, shares_of(recent_)));
}

}  // namespace recserve
