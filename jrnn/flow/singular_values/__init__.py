"""Singular values of dh_t/dh_k over windows of a run."""
