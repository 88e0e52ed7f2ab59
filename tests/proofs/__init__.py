"""What compilers for devices say of the device kernels, without a device: each needs packages of an extra, or skips."""
