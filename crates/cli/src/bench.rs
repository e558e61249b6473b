//! `unet3p bench`: how fast the network runs on this machine.

mod step;

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Args;
use serde::Serialize;
use unet3p::ModelSource;
use unet3p_models::{
    CompileOptions, Encoder, LayerReport, Predictor, UNet3Plus, UNet3PlusConfig, Variant, parts,
};

use crate::args::{Global, parse_encoder, parse_size, parse_variant};
use crate::device::DeviceChoice;
use crate::failure::{Failure, describe};
use crate::model;
use crate::report;
use step::TrainingStep;

/// Arguments of `unet3p bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// A bundled model's name, a model folder, a .safetensors file, or ORG/NAME or ORG/NAME@REV on the Hub [default: a base network with random weights]
    #[arg(short, long, value_name = "MODEL")]
    model: Option<String>,
    /// Random weights: base, deep_supervision or deep_supervision_cgm
    #[arg(long, conflicts_with = "model", default_value = "base", value_parser = parse_variant)]
    variant: Variant,
    /// Random weights: what computes the feature maps: plain, vgg11_bn, resnet34, resnet50 or resnet101
    #[arg(long, conflicts_with = "model", default_value_t = Encoder::Plain, value_parser = parse_encoder)]
    encoder: Encoder,
    /// Random weights: channels of the first encoder stage; the next ones have the encoder's multiples of it
    #[arg(long, conflicts_with = "model", default_value_t = 64, value_name = "N")]
    filters: usize,
    /// Image size: N, or HEIGHTxWIDTH
    #[arg(long, default_value = "320", value_parser = parse_size, value_name = "SIZE")]
    size: (usize, usize),
    /// Images at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    batch: u16,
    /// Timed runs, behind one that is not
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    runs: u16,
    /// Time a training step: forward, backward, Adam
    #[arg(long)]
    train: bool,
    /// Print time, algorithm and multiply-adds of each layer, on the CPU
    #[arg(long, conflicts_with = "train")]
    layers: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    median_s: f64,
    mean_s: f64,
    min_s: f64,
    /// The process's largest resident memory so far, in 10^6 bytes; absent where the system does not tell.
    peak_rss_mb: Option<f64>,
    /// Multiply-adds of the convolutions as the network is written, in 10^9, for all images; of a training step,
    /// three times those of all heads.
    gmac_as_written: f64,
    /// Multiply-adds that the engine executes, in 10^9, for all images; absent for a training step and on a GPU.
    gmac_executed: Option<f64>,
    device: String,
    threads: usize,
    /// Absent on a GPU.
    isa: Option<&'static str>,
    cpu: Option<String>,
    height: usize,
    width: usize,
    size: String,
    batch: usize,
    filters: usize,
    variant: Variant,
    encoder: Encoder,
    train: bool,
    /// To load or initialise the weights, and to compile them, in seconds.
    ready_s: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Layer>,
}

/// One layer of the table.
#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    algorithm: Option<String>,
    time_ms: f64,
    gmac_executed: f64,
}

/// Runs `unet3p bench`.
pub(crate) fn run(args: BenchArgs, global: &Global) -> Result<(), Failure> {
    let device = global.device.open()?;
    if args.layers && !device.is_cpu() {
        return Err(Failure::usage("--layers are those of the CPU's engine: use --device cpu"));
    }
    let start = Instant::now();
    let model = open(&args, global, &device)?;
    let config = model.config().clone();
    let failed = |error: unet3p_models::Error| Failure::run(format!("bench: {}", describe(&error)));
    let (height, width) = args.size;
    let multiple = config.size_multiple();
    if args.train && [height, width].iter().any(|side| side % multiple != 0) {
        return Err(Failure::usage(format!(
            "--size {height}x{width}: sides of a training step's images are multiples of {multiple} in this network"
        )));
    }
    let batch = usize::from(args.batch);
    // signed noise, the same in every run
    let x = Tensor::from_vec(
        noise(batch * config.in_channels * height * width),
        (batch, config.in_channels, height, width),
        &device,
    )
    .map_err(|error| failed(error.into()))?;

    let mut executed = None;
    let mut layers = Vec::new();
    // a GPU is behind the calls; it has done what it was told once it answers
    let done = || Ok(device.synchronize()?);
    let (times, ready) = if args.train {
        let mut step = TrainingStep::new(model, x).map_err(failed)?;
        let ready = start.elapsed().as_secs_f64();
        (timed(args.runs, || step.run().and_then(|()| done())).map_err(failed)?, ready)
    } else if !device.is_cpu() {
        let ready = start.elapsed().as_secs_f64();
        (timed(args.runs, || model.predict(&x).and_then(|_| done())).map_err(failed)?, ready)
    } else {
        let options = CompileOptions { size: [height, width], ..CompileOptions::default() };
        let engine = model.compile(options).map_err(failed)?;
        let ready = start.elapsed().as_secs_f64();
        let times = timed(args.runs, || engine.predict(&x).map(drop)).map_err(failed)?;
        layers = engine.layers();
        executed = Some(giga(layers.iter().map(|layer| layer.multiply_adds).sum::<u64>(), batch));
        (times, ready)
    };
    let measured = Measured {
        median_s: times[times.len() / 2],
        mean_s: times.iter().sum::<f64>() / times.len() as f64,
        min_s: times[0],
        peak_rss_mb: peak_rss_mb(),
        gmac_as_written: as_written(&config, [height, width], args.train, batch),
        gmac_executed: executed,
        device: DeviceChoice::of(&device).to_string(),
        threads: rayon::current_num_threads(),
        isa: device.is_cpu().then(|| unet3p_models::Isa::current().name()),
        cpu: cpu_name(),
        height,
        width,
        size: if height == width { height.to_string() } else { format!("{height}x{width}") },
        batch,
        filters: config.filters[0],
        variant: config.variant,
        encoder: config.encoder,
        train: args.train,
        ready_s: ready,
        layers: if args.layers { layers.into_iter().map(Layer::from).collect() } else { Vec::new() },
    };
    if args.json {
        let text = serde_json::to_string(&measured).map_err(|error| Failure::run(error.to_string()))?;
        report::output_line(text);
    } else {
        report::output_line(measured.table());
    }
    Ok(())
}

fn open(args: &BenchArgs, global: &Global, device: &Device) -> Result<UNet3Plus, Failure> {
    match &args.model {
        Some(name) => {
            let source: ModelSource = model::resolve(name, global)?;
            source.load_model(device).map_err(|error| Failure::run(describe(&error)))
        }
        None => {
            let builder = UNet3PlusConfig::builder().variant(args.variant).encoder(args.encoder);
            let builder = builder.base_filters(args.filters);
            let config = builder.build().map_err(|error| Failure::usage(describe(&error)))?;
            UNet3Plus::init(&config, 0, DType::F32, device).map_err(|error| Failure::run(describe(&error)))
        }
    }
}

/// Seconds of each run, sorted, behind one that is not counted.
fn timed<E>(runs: u16, mut run: impl FnMut() -> Result<(), E>) -> Result<Vec<f64>, E> {
    run()?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Values between -1 and 1 (a linear congruential generator's high bits).
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn giga(multiply_adds: u64, batch: usize) -> f64 {
    multiply_adds as f64 * batch as f64 * 1e-9
}

/// Of what a mask needs, or of a training step: forward, and as much again for either gradient.
fn as_written(config: &UNet3PlusConfig, size: [usize; 2], train: bool, batch: usize) -> f64 {
    let parts = parts(config, size);
    let counted =
        parts.iter().filter(|part| train || !part.name.starts_with("head.") || part.name == "head.1");
    giga(counted.map(|part| part.multiply_adds).sum(), batch) * if train { 3.0 } else { 1.0 }
}

/// The largest resident memory of this process.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 * 1e-6)
}

fn cpu_name() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl From<LayerReport> for Layer {
    fn from(layer: LayerReport) -> Self {
        Self {
            name: layer.name,
            algorithm: layer.algorithm.map(|algorithm| algorithm.to_string()),
            time_ms: layer.time.as_secs_f64() * 1e3,
            gmac_executed: layer.multiply_adds as f64 * 1e-9,
        }
    }
}

impl Measured {
    fn table(&self) -> String {
        let what = if self.train { "training step" } else { "inference" };
        let place = match self.isa {
            Some(isa) => {
                let cpu = self.cpu.as_ref().map(|cpu| format!(" on {cpu}")).unwrap_or_default();
                format!("{} threads, {isa}{cpu}", self.threads)
            }
            None => format!("on {}", self.device),
        };
        let mut lines = vec![
            format!(
                "{what}: {} with {} filters, {} images of {}x{}, {place}",
                self.variant, self.filters, self.batch, self.height, self.width,
            ),
            format!("median      {:10.4} s", self.median_s),
            format!("fastest     {:10.4} s", self.min_s),
            format!("as written  {:10.1} GMAC", self.gmac_as_written),
        ];
        lines.extend(self.gmac_executed.map(|gmac| format!("executed    {gmac:10.1} GMAC")));
        let effective = 2.0 * self.gmac_as_written / self.median_s;
        lines.push(format!("effective   {effective:10.1} GFLOP/s, of the work as written"));
        lines.extend(self.peak_rss_mb.map(|mb| format!("peak memory {mb:10.1} MB")));
        lines.push(format!("ready after {:10.3} s", self.ready_s));
        if !self.layers.is_empty() {
            lines.push(String::new());
            lines.push(format!(
                "{:<20} {:<18} {:>9} {:>8} {:>8}",
                "layer", "algorithm", "ms", "GMAC", "GFLOP/s"
            ));
        }
        for layer in &self.layers {
            let algorithm = layer.algorithm.as_deref().unwrap_or("");
            let rate = if layer.gmac_executed > 0.0 {
                // the time is one image's
                format!("{:8.0}", 2e3 * layer.gmac_executed / layer.time_ms)
            } else {
                String::new()
            };
            lines.push(format!(
                "{:<20} {algorithm:<18} {:9.2} {:8.2} {rate}",
                layer.name, layer.time_ms, layer.gmac_executed
            ));
        }
        lines.join("\n")
    }
}
