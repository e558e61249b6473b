//! Checkpoints from elsewhere for UNet 3+: the authors' PyTorch state dicts to model folders.
