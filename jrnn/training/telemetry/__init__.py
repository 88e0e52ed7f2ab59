"""What is measured of a run, and where it is written and shown: metrics.jsonl, TensorBoard, a progress bar."""
