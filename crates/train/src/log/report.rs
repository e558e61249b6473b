//! `report.html`: a run on one page, in one file.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use csv::StringRecord;
use unet3p_data::default_color;

use super::cases::{Case, Cases};
use super::table::Table;
use crate::{Plan, Result, Summary, TrainConfig};

/// The report's name in the run folder.
pub(crate) const FILE_NAME: &str = "report.html";

const STYLE: &str = include_str!("report.css");

/// What a report is written from, beside the table.
pub(crate) struct Report<'a> {
    pub(crate) run_dir: &'a Path,
    pub(crate) config: &'a TrainConfig,
    pub(crate) plan: &'a Plan,
    pub(crate) summary: &'a Summary,
    /// What was changed on the way.
    pub(crate) notes: &'a [String],
    pub(crate) cases: Cases,
}

impl Report<'_> {
    /// The page. `curves` is SVG.
    pub(super) fn html(&self, table: &Table, class_names: &[String], curves: &str) -> Result<String> {
        let name = self.run_dir.file_name().map_or("run".into(), |name| name.to_string_lossy());
        let name = escape(&name);
        let facts = self.facts();
        let results = self.results(table);
        let cases = self.cases_section(class_names)?;
        let notes: String = self.notes.iter().map(|note| format!("<p>{}</p>\n", escape(note))).collect();
        let config = escape(&self.config.to_toml()?);
        Ok(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{name}: training report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{name}</h1>\n<p>{facts}</p>\n{notes}\
             <h2>Results</h2>\n{results}\n\
             <h2>Curves</h2>\n<div class=\"curves\">\n{curves}\n</div>\n\
             {cases}\
             <h2>Configuration</h2>\n<pre>{config}</pre>\n\
             </main>\n</body>\n</html>\n"
        ))
    }

    /// The run in a sentence.
    fn facts(&self) -> String {
        let (plan, summary) = (self.plan, self.summary);
        let seconds = summary.seconds.round() as u64;
        let early = if summary.stopped_early { ", stopped early" } else { "" };
        format!(
            "{variant}, {parameters} parameters, trained on {training} slices and validated on {validation}: \
             {steps} of {all} steps in {hours}:{minutes:02}:{seconds:02}{early}. unet3p {version}.",
            variant = self.config.model.variant,
            parameters = plan.parameters,
            training = plan.training_slices,
            validation = plan.validation_slices,
            steps = summary.steps,
            all = plan.steps,
            hours = seconds / 3600,
            minutes = seconds / 60 % 60,
            seconds = seconds % 60,
            version = env!("CARGO_PKG_VERSION"),
        )
    }

    /// The metrics of the best and of the last epoch, beside each other.
    fn results(&self, table: &Table) -> String {
        let monitor = escape(&String::from(self.config.train.monitor.clone()));
        let best = self.summary.best.and_then(|best| table.line(best.epoch));
        let lines: Vec<(String, &StringRecord)> =
            [(format!("best {monitor}"), best), ("last".into(), table.last())]
                .into_iter()
                .filter_map(|(title, line)| Some((title, line?)))
                .collect();
        let mut text = "<div class=\"scroll\"><table>\n<tr><th></th>".to_string();
        for (title, _) in &lines {
            push(&mut text, format_args!("<th class=\"number\">{title}</th>"));
        }
        for (i, name) in table.columns().iter().enumerate() {
            push(&mut text, format_args!("</tr>\n<tr><td>{}</td>", escape(name)));
            for (_, line) in &lines {
                let value = escape(line.get(i).unwrap_or_default());
                push(&mut text, format_args!("<td class=\"number\">{value}</td>"));
            }
        }
        text.push_str("</tr>\n</table></div>");
        text
    }

    fn cases_section(&self, class_names: &[String]) -> Result<String> {
        let mut text = String::new();
        let mut keys = String::new();
        for (id, name) in (1..=u8::MAX).zip(class_names) {
            let [r, g, b] = default_color(id);
            let name = escape(name);
            push(
                &mut keys,
                format_args!(
                    "<span class=\"key\"><i style=\"background:rgb({r},{g},{b})\"></i>{name}</span>"
                ),
            );
        }
        let kinds = [("Best", &self.cases.best), ("Worst", &self.cases.worst)];
        if kinds.iter().any(|(_, cases)| !cases.is_empty()) {
            push(
                &mut text,
                format_args!(
                    "<h2>Cases</h2>\n<p>Validation volumes under the best model, with the Dice of the whole volume. From \
                     left to right: input, label, prediction, on the slice with the most of both. {keys}</p>\n"
                ),
            );
        }
        for (title, cases) in kinds.into_iter().filter(|(_, cases)| !cases.is_empty()) {
            push(&mut text, format_args!("<h3>{title}</h3>\n"));
            for case in cases {
                text.push_str(&case.html()?);
            }
        }
        Ok(text)
    }
}

impl Case {
    fn html(&self) -> Result<String> {
        Ok(format!(
            "<figure>\n<figcaption><b>{volume}</b><span>slice {slice}</span><b>Dice {dice:.4}</b></figcaption>\n\
             <img alt=\"input, label and prediction\" width=\"{width}\" height=\"{height}\" \
             src=\"data:image/png;base64,{png}\">\n</figure>\n",
            volume = escape(&self.volume),
            slice = escape(&self.slice),
            dice = self.dice,
            width = self.picture.width,
            height = self.picture.height,
            png = STANDARD.encode(self.picture.to_png()?),
        ))
    }
}

/// Appends to a string, which cannot fail.
fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

/// Text as HTML, also within quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_names_stays_text() {
        assert_eq!(escape("<b a=\"'\">&"), "&lt;b a=&quot;&#39;&quot;&gt;&amp;");
    }
}
