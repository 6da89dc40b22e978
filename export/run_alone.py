"""A graph on requests that may end its process: `python -m export.run_alone MODEL FEEDS FOLDER`.

Imports little, so that it starts fast. FEEDS has the keys "0007/<input>", text as in `serving.flat_texts`; FOLDER gets
0007.safetensors with the outputs under "0007/<output>", or 0007.txt with what ONNX Runtime said.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file, save_file

from serving import flat_texts


def open_session(path: Path) -> ort.InferenceSession:
    """A session on the CPU with one thread, so that sums are taken in the order in which one instance takes them."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def main(model: Path, feeds: Path, folder: Path) -> None:
    """Runs the requests in their order, and writes each answer before the next request."""
    requests: dict[int, dict[str, np.ndarray]] = {}
    for key, array in flat_texts.restored(load_file(feeds)).items():
        number, _, name = key.partition("/")
        requests.setdefault(int(number), {})[name] = array
    session = open_session(model)
    names = [output.name for output in session.get_outputs()]
    for number in sorted(requests):
        try:
            outputs = session.run(names, requests[number])
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            (folder / f"{number:04d}.txt").write_text(str(error))
        else:
            named = {f"{number:04d}/{name}": np.asarray(array) for name, array in zip(names, outputs, strict=True)}
            arrays = {name: np.ascontiguousarray(array) for name, array in flat_texts.flattened(named).items()}
            # Under another name first: a file that is there is whole.
            save_file(arrays, folder / "partial")
            (folder / "partial").rename(folder / f"{number:04d}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
