"""A scan over time as one Pallas kernel for TPUs; knows no recurrence."""
