"""The same model behind the servers that a user would pick instead of tritonserver, and how they compare.

`scorer` and the `server` modules run in the peers' own environments, where nothing of recserve is installed: they
import numpy, onnxruntime and their framework only. Everything else runs in recserve's environment.
"""
