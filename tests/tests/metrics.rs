//! Metrics against medpy's, in two and three dimensions, with spacing.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::PathBuf;

use safetensors::SafeTensors;
use serde::Deserialize;
use unet3p_metrics::{Labels, Metric, Scores};

/// Relative error allowed for each value: both sides add up f64 in another order.
const BUDGET: f64 = 1e-9;

/// What medpy says of a case. Its `ravd` has a sign.
#[derive(Deserialize)]
struct Case {
    case: usize,
    shape: Vec<usize>,
    spacing_mm: Vec<f64>,
    dice: f64,
    jaccard: f64,
    hausdorff: f64,
    hd95: f64,
    assd: f64,
    asd: f64,
    ravd: f64,
    sensitivity: f64,
    specificity: f64,
    precision: f64,
}

fn golden(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "golden", "metrics", name].iter().collect();
    std::fs::read(path).unwrap()
}

#[test]
fn values_are_medpys() {
    let (masks, cases) = (golden("metrics_medpy.safetensors"), golden("metrics_medpy.json"));
    let masks = SafeTensors::deserialize(&masks).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let [prediction, reference] =
            ["pred", "reference"].map(|name| masks.tensor(&format!("case{}.{name}", case.case)).unwrap());
        assert_eq!(prediction.shape(), case.shape);
        let [prediction, reference] = [&prediction, &reference]
            .map(|mask| Labels::new(mask.data(), &case.shape, &case.spacing_mm).unwrap());
        let scores = Scores::of_class(&prediction, &reference, 1, 1.0).unwrap();
        for (metric, expected) in [
            (Metric::Dice, case.dice),
            (Metric::Iou, case.jaccard),
            (Metric::Hd, case.hausdorff),
            (Metric::Hd95, case.hd95),
            (Metric::Assd, case.assd),
            (Metric::Asd, case.asd),
            (Metric::Rvd, case.ravd),
            (Metric::Recall, case.sensitivity),
            (Metric::Specificity, case.specificity),
            (Metric::Precision, case.precision),
        ] {
            let found = scores.get(metric).unwrap();
            let error = (found - expected).abs() / expected.abs();
            assert!(error <= BUDGET, "case {}, {}: {found}, not {expected}", case.case, metric.name());
        }
    }
}
