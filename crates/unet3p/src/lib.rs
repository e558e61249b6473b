//! UNet 3+ segmentation of medical images in ten lines: a bundled model, a model folder, an image in, a mask out.
