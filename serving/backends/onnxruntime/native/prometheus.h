// Series of the server's metrics. serving/watch/families.py has the same families, and says what they count.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "triton.h"

namespace recserve {

struct Family {
  const char* name;
  TRITONSERVER_MetricKind kind;
  std::vector<const char*> labels;
  const char* help;
};

namespace families {
extern const Family RESTARTS, RELEASE_INFO, REFUSALS, SCORE_BUCKET, SCORE_COUNT, SCORE_NOT_FINITE, SCORE_BIN,
    SCORE_EXPECTED, SCORE_DRIFT;
}

// One series, there from now on at zero until it is destroyed. Telling it is cheap, and right from any thread.
class Series {
 public:
  // `values` of the family's labels, in their order.
  Series(const Family& family, const std::vector<std::string>& values);

  void add(double number) const;
  void set(double number) const;

 private:
  struct Delete {
    void operator()(TRITONSERVER_Metric* metric) const;
  };
  // A series goes before its family, which all series of one name share: the server counts who holds a series by the
  // handle of its family.
  std::shared_ptr<TRITONSERVER_MetricFamily> family_;
  std::unique_ptr<TRITONSERVER_Metric, Delete> metric_;
};

}  // namespace recserve
