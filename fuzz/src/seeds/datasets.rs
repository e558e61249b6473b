//! What describes a dataset, for the folders that the targets fill.

use unet3p_data::Preprocessor;

use super::{Seed, seed};

/// Settings of each layout.
pub fn preprocessors() -> Vec<Seed> {
    vec![
        seed("empty.json", "{}"),
        seed("slices.json", Preprocessor::for_slices([-200.0, 250.0], Some([3.0; 3])).to_json()),
        seed("default.json", Preprocessor::default().to_json()),
        seed(
            "channels.json",
            r#"{"layout": "channels", "channel_names": ["ct", "pet"], "normalize": "window", "window": [[-200, 250], [0, 10]]}"#,
        ),
        seed(
            "gray.json",
            r#"{"layout": "gray", "size": {"height": 20, "width": 24}, "resample": 0, "normalize": "minmax",
 "do_resize": true, "do_rescale": true, "rescale_factor": 0.0039, "do_normalize": true, "image_mean": [0.5],
 "image_std": [0.25], "window": [-160, 240], "spacing": null, "orientation": "RAS", "keep_largest_component": true}"#,
        ),
    ]
}

/// `dataset.json` as `prepare` writes it, and as little of it as training needs.
pub fn indices() -> Vec<Seed> {
    vec![
        seed(
            "names.json",
            r#"{"slices": [{"name": "a_0", "volume": "a"}, {"name": "a_1", "volume": "a"}, {"name": "b_0", "volume": "b"}]}"#,
        ),
        seed(
            "prepared.json",
            r#"{"classes": [{"name": "liver", "labels": [1]}, {"name": "tumour", "labels": [2]}],
 "window": [-200.0, 250.0], "spacing": [3.0, 3.0, 5.0], "size": {"height": 12, "width": 13},
 "canvas": null, "regions": false,
 "volumes": [{"name": "a", "split": "train", "shape": [13, 12, 2], "spacing": [3.0, 3.0, 5.0], "native_shape": [13, 12, 2],
   "native_spacing": [1.0, 1.0, 1.0], "native_orientation": "RAS"},
  {"name": "b", "split": "validation", "shape": [13, 12, 1], "spacing": [3.0, 3.0, 5.0], "native_shape": [13, 12, 1],
   "native_spacing": [1.0, 1.0, 1.0], "native_orientation": "LPS"}],
 "slices": [{"name": "a_0", "volume": "a", "index": 0, "foreground": true},
  {"name": "a_1", "volume": "a", "index": 1, "foreground": true},
  {"name": "b_0", "volume": "b", "index": 0, "foreground": false}]}"#,
        ),
    ]
}

/// `dataset.json` of nnU-Net, versions 2 and 1.
pub fn nnunet() -> Vec<Seed> {
    vec![
        seed(
            "version_2.json",
            r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "tumour": 2, "ignore": 3},
 "numTraining": 3, "file_ending": ".png"}"#,
        ),
        seed(
            "version_1.json",
            r#"{"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "tumour"},
 "numTraining": 3, "file_ending": ".png", "training": [{"image": "./imagesTr/a.png", "label": "./labelsTr/a.png"}]}"#,
        ),
    ]
}

/// Lists of images and masks, with and without groups.
pub fn lists() -> Vec<Seed> {
    vec![
        seed("channels.csv", "t1,t2,mask\nimages/a.png,images/b.png,masks/a.png\n"),
        seed("numbered.csv", "image,image_1,mask\nimages/a.png,images/b.png,masks/a.png\n"),
        seed("plain.csv", "image,mask\nimages/a.png,masks/a.png\nimages/b.png,masks/b.png\n"),
        seed(
            "groups.csv",
            "image,mask,group,split\nimages/a.png,masks/a.png,p,train\nimages/b.png,masks/b.png,p,train\n\
             \"images/c.png\",\"masks/c.png\",q,validation\n",
        ),
    ]
}
