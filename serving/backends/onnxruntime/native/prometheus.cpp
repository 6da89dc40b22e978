#include "prometheus.h"

#include <map>
#include <mutex>
#include <string_view>

#include "server.h"

namespace recserve {

namespace families {
const Family RESTARTS{
    "recserve_server_restarts", METRIC_GAUGE, {},
    "Restarts of tritonserver after a fault, since recserve serve was started"};
const Family RELEASE_INFO{
    "recserve_release_info", METRIC_GAUGE, {"model", "version", "system", "dataset", "run"},
    "1 for each version of each model that is loaded, and what it was made of"};
const Family REFUSALS{
    "recserve_refusals_total", METRIC_COUNTER, {"model", "reason"},
    "Requests that got an error in place of an answer"};
const Family SCORE_BUCKET{
    "recserve_score_bucket", METRIC_COUNTER, {"model", "version", "le"},
    "Finite scores that were answered, of at most le; the buckets of a histogram"};
const Family SCORE_COUNT{
    "recserve_score_count", METRIC_COUNTER, {"model", "version"}, "Finite scores that were answered"};
const Family SCORE_NOT_FINITE{
    "recserve_score_not_finite_total", METRIC_COUNTER, {"model", "version"},
    "Scores that were answered and are NaN or infinite"};
const Family SCORE_BIN{
    "recserve_score_bin_total", METRIC_COUNTER, {"model", "version", "bin"},
    "Finite scores that were answered, by the bin of the release's reference that they fall into"};
const Family SCORE_EXPECTED{
    "recserve_score_expected", METRIC_GAUGE, {"model", "version", "bin", "source"},
    "Share of the reference's scores in a bin; source: example requests of the release, or a log of requests"};
const Family SCORE_DRIFT{
    "recserve_score_drift", METRIC_GAUGE, {"model", "version", "source"},
    "Population stability index of the newest scores against the reference; NaN before 1,000 requests"};
}  // namespace families

namespace {

struct DeleteParameter {
  void operator()(TRITONSERVER_Parameter* one) const { TRITONSERVER_ParameterDelete(one); }
};

// The family's one handle in this process, as long as anybody has it.
std::shared_ptr<TRITONSERVER_MetricFamily> opened(const Family& family) {
  static std::mutex mutex;
  static std::map<std::string_view, std::weak_ptr<TRITONSERVER_MetricFamily>> handles;
  const std::lock_guard lock(mutex);
  std::weak_ptr<TRITONSERVER_MetricFamily>& known = handles[family.name];
  std::shared_ptr<TRITONSERVER_MetricFamily> handle = known.lock();
  if (!handle) {
    TRITONSERVER_MetricFamily* made = nullptr;
    expect(TRITONSERVER_MetricFamilyNew(&made, family.kind, family.name, family.help));
    handle.reset(made, [](TRITONSERVER_MetricFamily* one) { OwnedError(TRITONSERVER_MetricFamilyDelete(one)); });
    known = handle;
  }
  return handle;
}

}  // namespace

Series::Series(const Family& family, const std::vector<std::string>& values) : family_(opened(family)) {
  std::vector<std::unique_ptr<TRITONSERVER_Parameter, DeleteParameter>> labels;
  std::vector<const TRITONSERVER_Parameter*> pointers;
  for (size_t place = 0; place < values.size(); ++place) {
    labels.emplace_back(
        TRITONSERVER_ParameterNew(family.labels.at(place), PARAMETER_STRING, values[place].c_str()));
    pointers.push_back(labels.back().get());
  }
  TRITONSERVER_Metric* metric = nullptr;
  expect(TRITONSERVER_MetricNew(&metric, family_.get(), pointers.data(), pointers.size()));
  metric_.reset(metric);
}

void Series::Delete::operator()(TRITONSERVER_Metric* metric) const { OwnedError(TRITONSERVER_MetricDelete(metric)); }

// A count that is lost is no reason to lose an answer.
void Series::add(double number) const { OwnedError(TRITONSERVER_MetricIncrement(metric_.get(), number)); }
void Series::set(double number) const { OwnedError(TRITONSERVER_MetricSet(metric_.get(), number)); }

}  // namespace recserve
