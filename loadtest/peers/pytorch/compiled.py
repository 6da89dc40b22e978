"""`torch.compile` with sizes left open; needs a C++ compiler."""

import torch

from loadtest.peers.pytorch.program import main

if __name__ == "__main__":
    main(lambda module: torch.compile(module, dynamic=True))
