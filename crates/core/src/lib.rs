//! Building blocks of UNet 3+ on Candle: convolution block, full-scale skip connection, segmentation head and classification guide, with correct gradients.
