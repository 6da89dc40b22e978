"""Withdraws a server's readiness while it goes on answering.

tritonserver calls itself ready only while every model is (`--strict-readiness`), so a model that cannot be loaded, sent
along with the call that loads it, takes the server out of every balancer that asks for its health; all other models
keep answering. It cannot be made ready again: a server that was withdrawn is stopped next.
"""

from recserve_client.errors import ServingError
from serving.admin import Admin

MODEL = "recserve_draining"
_CONFIG = f'{{"name": "{MODEL}", "backend": "{MODEL}"}}'
"""There is no such backend, so nothing is started for it."""


def withdraw(client: Admin) -> None:
    """Returns when the server says that it is not ready.

    Args:
        client: with the admin key of a server in the control mode `explicit`.

    Raises:
        ServingError: the server still says that it is ready.
    """
    try:
        client.load_files(MODEL, _CONFIG, {"1/model.onnx": b"no model"})
    except ServingError as error:
        refusal = error
    else:
        raise ServingError(f"{client.url}: a model that is none was loaded; stop the server")
    if client.server_ready():
        raise ServingError(f"{client.url}: readiness could not be withdrawn: {refusal}") from refusal
