"""What a run or a model is on disk: folders, locks, checkpoints, descriptions; `save` and `load`."""
