"""What keeps a server from coming up."""

from recserve_client.errors import ServingError


class StartupError(ServingError):
    """tritonserver did not come up, or a model did not answer its golden requests right."""
