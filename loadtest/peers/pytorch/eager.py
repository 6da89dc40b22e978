"""Every operator called from Python, as TorchServe's default handler does."""

from loadtest.peers.pytorch.program import main

if __name__ == "__main__":
    main(lambda module: module)
