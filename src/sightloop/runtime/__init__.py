"""Running a network: the Backend protocol, ONNX Runtime, the loaded release."""
