//! Segmentation losses on Candle: focal, SSIM, MS-SSIM, IoU, Dice, cross-entropy, Tversky and the UNet 3+ hybrid loss with deep supervision.
