"""Ways in which the bound of a run can be wrong; as `lint_broken`."""

from tests.export.lint_breaks import CPU, SCORER, Break, config

BROKEN_RUNS: dict[str, tuple[Break, str, str, str, str]] = {
    "runs of no elements": (
        config(lambda c: setattr(c.parameters["run_elements"], "string_value", "0"), file="configs/cpu.pbtxt"),
        "error",
        CPU,
        "parameters.run_elements",
        "'0' is not a number of elements",
    ),
    "runs of a backend that does not bound them": (
        config(lambda c: setattr(c.parameters["run_elements"], "string_value", "1000")),
        "warning",
        SCORER,
        "parameters.run_elements",
        "only our backend",
    ),
}
