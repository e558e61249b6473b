//! CPU kernels of UNet 3+ on plain slices: convolution, pooling, resampling and batch normalisation, forward and backward.
