"""J_t = dh_t/dh_{t-1} of every step, explicitly, and products of them."""
