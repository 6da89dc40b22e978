"""Cases of files: versions, model files, configurations."""

from collections.abc import Iterator

from tests.export.lint_cases.case import ANSWERS_NOTHING, Case


def cases() -> Iterator[Case]:
    """All cases of this file."""
    for name, field, files in _VERSIONS:
        yield Case(name=f"version_{name}", field=field, changes=_PYTHON, files=files, hangs=name in _HANG)
    for name, field, source in _SOURCES:
        yield Case(name=f"source_{name}", field=field, changes=_PYTHON, files={"1/model.py": source})
    yield from _NAMED
    platform = {"backend": 'backend: "python"\nplatform: "pytorch"'}
    yield Case(name="file_pytorch_of_python", field=None, changes=platform, files={"1/model.pt": "x"}, judge="source")
    for backend, other in _MODEL_FILES.items():
        changes, name = {"backend": backend}, backend.split('"')[1]
        yield Case(name=f"file_{name}_missing", field="", changes=changes, files={f"1/{other}": "x"}, judge="source")


_HANG = ("empty", "suffix_beside", "newest_empty")
"""The Python backend of 2.51 waits without end where there is no model.py."""

_PYTHON = {"backend": 'backend: "python"'}
_VERSIONS: tuple[tuple[str, str | None, dict[str, str | bytes]], ...] = (
    ("none", "", {"model.py": ANSWERS_NOTHING}),
    ("empty", "", {"1/": ""}),
    ("only_zero_prefix", "", {"01/model.py": ANSWERS_NOTHING}),
    ("zero_prefix_beside", None, {"1/model.py": ANSWERS_NOTHING, "02/model.py": "broken("}),
    ("only_name", "", {"latest/model.py": ANSWERS_NOTHING}),
    ("name_beside", None, {"1/model.py": ANSWERS_NOTHING, "assets/list.txt": "a"}),
    ("zero", None, {"0/model.py": ANSWERS_NOTHING}),
    ("suffix_beside", "", {"1/model.py": ANSWERS_NOTHING, "2.bak/model.py": ANSWERS_NOTHING}),
    ("older_suffix_beside", None, {"3/model.py": ANSWERS_NOTHING, "2.bak/model.py": ANSWERS_NOTHING}),
    ("same_suffix_beside", None, {"3/model.py": ANSWERS_NOTHING, "3.bak/model.py": ANSWERS_NOTHING}),
    ("negative_beside", None, {"1/model.py": ANSWERS_NOTHING, "-1/model.py": ANSWERS_NOTHING}),
    ("hidden_beside", None, {"1/model.py": ANSWERS_NOTHING, ".2/model.py": "broken("}),
    ("older_broken", None, {"1/model.py": "broken(", "2/model.py": ANSWERS_NOTHING}),
    ("newest_broken", "", {"1/model.py": ANSWERS_NOTHING, "2/model.py": "broken("}),
    ("newest_empty", "", {"1/model.py": ANSWERS_NOTHING, "2/": ""}),
)

_SOURCES: tuple[tuple[str, str | None, str], ...] = (
    ("syntax", "", "class TritonPythonModel:\n    def execute(self, requests)\n        return []\n"),
    ("other_class", "", ANSWERS_NOTHING.replace("TritonPythonModel", "Model")),
    ("empty", "", ""),
    ("imported", None, "from builtins import object as TritonPythonModel\n"),
    (
        "assigned",
        None,
        "class Model:\n    def execute(self, requests):\n        return []\n\n\nTritonPythonModel = Model\n",
    ),
    ("in_condition", None, f"if True:\n{''.join(f'    {line}' for line in ANSWERS_NOTHING.splitlines(True))}"),
)

_NAMED = (
    Case(
        name="filename_named",
        field=None,
        changes=_PYTHON | {"f": 'default_model_filename: "net.py"'},
        files={"1/net.py": ANSWERS_NOTHING},
    ),
    Case(name="filename_missing", field="", hangs=True, changes=_PYTHON | {"f": 'default_model_filename: "net.py"'}),
    Case(
        name="version_specific_older",
        field=None,
        changes=_PYTHON | {"v": "version_policy { specific { versions: [ 1 ] } }"},
        files={"1/model.py": ANSWERS_NOTHING, "2/model.py": "broken("},
    ),
    Case(
        name="version_all_one_broken",
        field="",
        changes=_PYTHON | {"v": "version_policy { all {} }"},
        files={"1/model.py": "broken(", "2/model.py": ANSWERS_NOTHING},
    ),
    Case(
        name="version_latest_two_one_broken",
        field="",
        changes=_PYTHON | {"v": "version_policy { latest { num_versions: 2 } }"},
        files={"1/model.py": "broken(", "2/model.py": ANSWERS_NOTHING},
    ),
    Case(name="not_a_model", field="", base={}, files={"notes.txt": "-"}),
    Case(name="not_a_model_.git", field="", base={}, files={"HEAD": "-"}),
    Case(name="config_empty", files={"1/model.py": ANSWERS_NOTHING}, field=None, base={"all": " "}),
    Case(name="config_missing", files={"1/model.py": ANSWERS_NOTHING}, field=None, base={}, strict=False),
    Case(name="config_missing_no_model", field="backend", base={}, files={"1/weights.bin": "1"}),
    Case(name="config_garbage", field="", base={"all": "name: }"}),
    Case(name="config_bytes", field="", base={"all": "name: 'a\x00b\x01'"}),
    Case(
        name="config_own",
        field=None,
        base={"all": "# nothing beside"},
        files={"1/model.py": ANSWERS_NOTHING},
        more={"configs/cpu.pbtxt": 'backend: "python"'},
    ),
)

_MODEL_FILES = {
    'platform: "tensorrt_plan"': "model.trt",
    'platform: "tensorflow_graphdef"': "graph.pb",
    'platform: "tensorflow_savedmodel"': "saved_model.pb",
    'platform: "pytorch_libtorch"': "model.pth",
    'backend: "openvino"': "net.xml",
}
"""Backend -> a file that it does not look for."""
