//! Models of the Hub by their ids, and single files.

use std::fs;

use candle_core::{DType, Device, Tensor};
use unet3p_convert::encoder::name_in_timm;
use unet3p_models::{Encoder, UNet3Plus, UNet3PlusConfig, Variant};

use crate::hub_server::{COMMIT, Repo, Server};
use crate::support::{Place, Run, gray_preprocessor, slices_preprocessor, tiny};

const ID: &str = "acme/tiny";

impl Place {
    /// The model `m` as a repository of the Hub.
    fn repo(&self) -> Repo {
        self.model();
        let files = ["config.json", "model.safetensors", "preprocessor_config.json"];
        Repo::new(ID, files.map(|name| (name, fs::read(self.path("m").join(name)).unwrap())))
    }

    /// Runs `line` with the Hub at `server`.
    #[track_caller]
    fn at(&self, server: &str, line: &str) -> Run {
        self.run_with(&[("HF_ENDPOINT", server)], line.split_whitespace())
    }
}

#[test]
fn a_model_that_was_pulled_once_needs_no_server() {
    let place = Place::new();
    let server = place.repo().serve();
    let url = server.url();
    let run = place.at(&url, "pull acme/tiny -q");
    run.ends(0, &[]);
    assert_eq!(run.stderr, "");
    let folder = place.path("hf/hub/models--acme--tiny/snapshots").join(COMMIT);
    assert_eq!(run.stdout.trim_end(), folder.to_str().unwrap());

    place.gray("a.png", 20, 12);
    place.line("predict -i a.png -o from_folder -m m").ends(0, &[]);
    place.at(&url, "predict -i a.png -o from_hub -m acme/tiny").ends(0, &[]);
    drop(server);
    let run = place.at(&url, "predict -i a.png -o from_cache -m acme/tiny");
    run.ends(0, &["warning: acme/tiny: cannot reach", "taken from the cache"]);
    for line in ["predict -i a.png -o offline -m acme/tiny --offline", "info acme/tiny --offline"] {
        let run = place.at(&url, line);
        run.ends(0, &[]);
        assert_eq!(run.stderr, "");
    }
    let mask = |folder: &str| fs::read(place.path(folder).join("a_mask.png")).unwrap();
    for folder in ["from_hub", "from_cache", "offline"] {
        assert!(mask(folder) == mask("from_folder"), "{folder}");
    }
    assert_eq!(place.json("offline/predictions.json")["model"], "acme/tiny");
}

#[test]
fn every_command_that_takes_a_model_takes_one_of_the_hub() {
    let place = Place::new();
    let server = place.repo().serve();
    let at = |line: &str| place.at(&server.url(), line);
    let run = at("info acme/tiny@main");
    run.ends(0, &[]);
    assert!(run.stdout.starts_with("model        acme/tiny@main\n"), "{}", run.stdout);
    assert!(run.stdout.contains("float32"), "{}", run.stdout);
    at("bench -m acme/tiny --size 16 --runs 1").ends(0, &[]);

    place.gray("slices/images/a.png", 16, 16);
    place.mask("slices/masks/a.png", &["0011001100110011"; 16]);
    at("evaluate -m acme/tiny -i slices/images -r slices/masks -o metrics.json").ends(0, &[]);
    assert_eq!(place.json("metrics.json")["model"], "acme/tiny");
    place.write(
        "train.toml",
        "[data]\npaths = [\"slices\"]\n[model]\nfilters = [4, 8, 16, 32, 64]\nclass_names = [\"liver\"]\n[train]\nsteps = 1\n",
    );
    at("train -c train.toml -o run --init-from acme/tiny").ends(0, &[]);
}

/// A classifier's repository, as timm writes it, with weights that hardly matter.
fn timm(id: &'static str, encoder: Encoder) -> Repo {
    let config = UNet3PlusConfig::builder().encoder(encoder).build().unwrap();
    let tensors = unet3p_models::tensor_shapes(&config).into_iter().filter_map(|(name, shape)| {
        let name = name_in_timm(encoder, &name)?;
        let tensor = (Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap() * 0.01).unwrap();
        let tensor = tensor.to_dtype(DType::F16).unwrap();
        Some((name, tensor))
    });
    let head = Tensor::zeros((10, 8), DType::F16, &Device::Cpu).unwrap();
    let tensors: Vec<_> = tensors.chain([("head.fc.weight".to_owned(), head)]).collect();
    let weights = safetensors::serialize(tensors, None).unwrap();
    let config = r#"{"pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}}"#;
    Repo::new(id, [("config.json", config.as_bytes().to_vec()), ("model.safetensors", weights)])
}

#[test]
fn an_encoder_starts_from_the_weights_of_a_classifier() {
    let place = Place::new();
    let server = timm("timm/vgg11_bn", Encoder::Vgg11Bn).serve();
    place.gray("slices/images/a.png", 32, 32);
    place.mask("slices/masks/a.png", &["00110011001100110011001100110011"; 32]);
    place.write(
        "train.toml",
        "[data]\npaths = [\"slices\"]\n[model]\nencoder = \"vgg11_bn\"\nencoder_weights = \"timm/vgg11_bn\"\n\
         [train]\nsteps = 1\nbatch_size = 1\nlearning_rate = 1e-9\n",
    );
    place.at(&server.url(), "train -c train.toml -o run").ends(0, &[]);
    let how = place.json("run/best/preprocessor_config.json");
    assert_eq!(how["image_mean"], serde_json::json!([0.5, 0.4, 0.3]));
    assert_eq!(place.json("run/best/config.json")["encoder"], "vgg11_bn");
    let model = UNet3Plus::load(place.path("run/last"), &Device::Cpu).unwrap();
    let first =
        &model.parameters().all().into_iter().find(|(name, _)| name == "encoder.1.conv.weight").unwrap().1;
    let mean = first.mean_all().unwrap().to_scalar::<f32>().unwrap();
    assert!((mean - 0.01).abs() < 1e-4, "{mean}");
    // another encoder's
    place
        .at(&server.url(), "train -c train.toml -o other --set model.encoder=resnet34")
        .ends(1, &["conv1.weight", "missing", "features.0.weight"]);
    place
        .line("train -c train.toml -o absent --set model.encoder_weights=absent.pth")
        .ends(2, &["absent.pth", "no such file"]);
    // what is wrong with the data is told before anything is fetched
    let text = fs::read_to_string(place.path("train.toml")).unwrap();
    place.write("nowhere.toml", text.replace("slices", "nowhere"));
    place.line("train -c nowhere.toml -o absent").ends(2, &["nowhere"]);
    // a model that was trained on normalised images goes on with such
    place.write("tune.toml", text.replace("encoder_weights = \"timm/vgg11_bn\"\n", ""));
    place
        .line("train -c tune.toml -o tuned --init-from run/best")
        .ends(0, &["run/best: images are normalised"]);
    let how = place.json("tuned/best/preprocessor_config.json");
    assert_eq!(how["image_std"], serde_json::json!([0.2, 0.2, 0.1]));
    // one that was trained on a window says that it was
    let run = place.line("train -c tune.toml -o other --init-from liver-ct --set model.encoder=plain");
    run.ends(2, &["window of its images was [-200, 250]", "model.filters"]);
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let place = Place::new();
    let proxy = Server::start(|_| crate::hub_server::Reply::status(403));
    let address = proxy.url().replace("http://", "");
    let with_password = format!("http://me:secret@{address}");
    let variables = [
        ("HF_ENDPOINT", "http://hub.invalid"),
        ("ALL_PROXY", with_password.as_str()),
        ("NO_PROXY", ""),
        ("no_proxy", ""),
    ];
    let run = place.run_with(&variables, ["pull", ID]);
    run.ends(1, &["acme/tiny", "cannot reach http://hub.invalid", &format!("through the proxy {address}")]);
    assert!(!run.stderr.contains("secret"), "{}", run.stderr);
    let gone = [("HF_ENDPOINT", "http://hub.invalid"), ("ALL_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "")];
    place.run_with(&gone, ["pull", ID]).ends(1, &["through the proxy 127.0.0.1:1"]);
}

#[test]
fn offline_names_what_is_missing_and_how_to_get_it() {
    let place = Place::new();
    place.gray("a.png", 8, 8);
    let words = ["acme/tiny", "offline", "config.json", "unet3p pull acme/tiny"];
    place.line("predict -i a.png -o out -m acme/tiny --offline").ends(1, &words);
    let offline = [("HF_HUB_OFFLINE", "1")];
    place.run_with(&offline, ["info", ID]).ends(1, &words);
    place.run_with(&offline, ["pull", ID]).ends(1, &words);
    assert!(!place.path("out").exists());
}

#[test]
fn a_private_model_is_read_with_the_token() {
    let place = Place::new();
    let server = Repo { token: Some("hf_secret"), ..place.repo() }.serve();
    let url = server.url();
    let with =
        |name: &str, value: &str| place.run_with(&[("HF_ENDPOINT", &url), (name, value)], ["pull", ID]);
    with("HF_HUB_OFFLINE", "0").ends(1, &["acme/tiny", "401", "HF_TOKEN"]);
    let wrong = with("HF_TOKEN", "hf_wrong");
    wrong.ends(1, &["the token may not read it"]);
    assert!(!wrong.stderr.contains("hf_wrong"), "{}", wrong.stderr);
    with("HF_TOKEN", "hf_secret").ends(0, &[]);
    // The token that a login left, and a cache elsewhere.
    place.write("hf/token", "hf_secret\n");
    let elsewhere = place.path("elsewhere");
    with("HF_HUB_CACHE", elsewhere.to_str().unwrap()).ends(0, &[]);
    assert!(elsewhere.join("models--acme--tiny/refs/main").exists());
}

#[test]
fn what_is_no_model_is_told_from_what_is_no_id() {
    let place = Place::new();
    let server = place.repo().serve();
    let at = |line: &str| place.at(&server.url(), line);
    at("pull acme").ends(2, &["'acme'", "org/name"]);
    at("pull acme/../tiny").ends(2, &["org/name@revision"]);
    at("pull acme/tiny@../x").ends(2, &["revision"]);
    at("pull acme/tini").ends(1, &["acme/tini", "404"]);
    // A mistyped path may look like an id.
    at("info runs/best").ends(1, &["no bundled model, file or folder is called runs/best", "404"]);
    at("info runs/liver/best").ends(1, &["runs/liver/best: no such model", "liver-ct", "org/name"]);
    // What is there is no id.
    place.save_model("acme/tiny", &tiny(3), &slices_preprocessor());
    server.requests();
    assert!(at("info acme/tiny").stdout.contains("channels     3"));
    assert!(server.requests().is_empty());
    let server = Server::start(|_| crate::hub_server::Reply::status(404));
    place.at(&server.url(), "info liver-ct").ends(0, &[]);
    assert!(server.requests().is_empty());
}

#[test]
fn a_single_file_is_a_model() {
    let place = Place::new();
    let mut config = tiny(1);
    config.variant = Variant::DeepSupervision;
    place.save_model("m", &config, &gray_preprocessor());
    place.gray("a.png", 20, 12);
    place.line("predict -i a.png -o folder -m m").ends(0, &[]);
    fs::remove_file(place.path("m/config.json")).unwrap();
    place.line("predict -i a.png -o file -m m/model.safetensors").ends(0, &[]);
    let mask = |folder: &str| fs::read(place.path(folder).join("a_mask.png")).unwrap();
    assert!(mask("file") == mask("folder"));
    assert!(place.line("info m/model.safetensors").stdout.contains("deep_supervision"));

    // Alone, it says what a network it is, and not how images become its input.
    fs::rename(place.path("m/model.safetensors"), place.path("alone.safetensors")).unwrap();
    place.line("info alone.safetensors").ends(0, &[]);
    place.line("predict -i a.png -o out -m alone.safetensors").ends(1, &["preprocessor_config.json", ".npy"]);

    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let foreign = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    place.write("foreign.safetensors", foreign);
    place.line("info foreign.safetensors").ends(1, &["foreign.safetensors", "`config`", "unet3p convert"]);
    place.write("text.pth", "no model");
    place.line("info text.pth").ends(1, &["text.pth", "not a sound safetensors file"]);
}
