#![allow(clippy::unwrap_used)]
use super::*;
use crate::UNet3PlusConfig;

#[test]
fn timing() {
    let f = std::env::var("F").map_or(64, |f| f.parse().unwrap());
    let n = std::env::var("N").map_or(320, |f| f.parse().unwrap());
    let config = UNet3PlusConfig::builder().base_filters(f).build().unwrap();
    let model = UNet3Plus::init(&config, 1, DType::F32, &Device::Cpu).unwrap();
    let t = Instant::now();
    let engine = model.compile(CompileOptions::default()).unwrap();
    println!("compile {:?}", t.elapsed());
    let x = Tensor::randn(0f32, 1.0, (1, 3, n, n), &Device::Cpu).unwrap();
    let mut times = vec![];
    for _ in 0..6 {
        let t = Instant::now();
        engine.logits(&x, 1).unwrap();
        times.push(t.elapsed());
    }
    println!("{times:?}");
    for l in engine.layers() {
        println!(
            "{:24} {:20} {:8.1} ms {:8.2} GMAC {:6.0} GF/s",
            l.name,
            l.algorithm.map(|a| a.to_string()).unwrap_or_default(),
            l.time.as_secs_f64() * 1e3,
            l.multiply_adds as f64 * 1e-9,
            l.multiply_adds as f64 * 2e-9 / l.time.as_secs_f64()
        );
    }
}
