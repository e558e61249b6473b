//! UNet 3+ in its three variants on Candle: configuration, network, model folders.
