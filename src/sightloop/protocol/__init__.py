"""Open Inference Protocol V2: tensors, requests, answers and messages; no socket, no release."""
