"""Hot ops: for each a definition in PyTorch, a Triton kernel, a PyTorch operator and an ONNX function."""
