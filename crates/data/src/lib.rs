//! Medical images for segmentation: image and NIfTI reading, preprocessing, 2.5D slices, datasets and augmentation.
