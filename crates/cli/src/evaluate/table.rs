//! The scores as a table on the terminal.

use unet3p::evaluate::{Classes, Total, Totals};
use unet3p_metrics::Summary;

/// The lines of a table for each class, and of one for all where there are several.
pub(super) fn lines(totals: &Totals, classes: &Classes) -> Vec<String> {
    let cases = match totals.cases {
        1 => "1 case".to_string(),
        n => format!("{n} cases"),
    };
    let mut lines = Vec::new();
    for (&id, total) in &totals.classes {
        let class = format!("class {id}");
        // A class without a name is called so already.
        let name = classes.name(id).filter(|&name| name != class);
        let name = name.map(|name| format!(", {name}")).unwrap_or_default();
        lines.push(format!("{class}{name}: {cases}"));
        table(total, &mut lines);
    }
    if totals.classes.len() > 1 {
        lines.push(format!("mean of {} classes: {cases}", totals.classes.len()));
        table(&totals.foreground, &mut lines);
    }
    lines
}

fn table(total: &Total, lines: &mut Vec<String>) {
    lines.push(row("metric", "mean", "95 % interval", "undefined", "infinite"));
    for (metric, summary) in &total.metrics {
        let Summary { mean, interval, undefined, infinite, .. } = summary;
        let mean = mean.map_or("-".to_string(), |mean| format!("{mean:.4}"));
        let interval = interval.map_or("-".to_string(), |[low, high]| format!("[{low:.4}, {high:.4}]"));
        lines.push(row(metric.name(), &mean, &interval, &undefined.to_string(), &infinite.to_string()));
    }
    lines.push(String::new());
}

fn row(metric: &str, mean: &str, interval: &str, undefined: &str, infinite: &str) -> String {
    format!("  {metric:<12} {mean:>10}  {interval:<22} {undefined:>9} {infinite:>9}")
}
