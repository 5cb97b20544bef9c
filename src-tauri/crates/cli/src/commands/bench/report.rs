//! What a benchmark prints: rows of figure, baseline, ratio and target.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::formats::FormatFigures;

#[derive(Debug, Serialize)]
pub struct Report {
    pub benchmark: &'static str,
    /// On what it was measured.
    pub setting: String,
    /// The load of the machine when it began.
    pub load_before: Option<f64>,
    pub rows: Vec<Row>,
    pub notes: Vec<String>,
    /// Of `formats`: figures by extension.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub formats: BTreeMap<String, FormatFigures>,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub name: &'static str,
    pub figure: f64,
    pub unit: &'static str,
    pub baseline: Option<Baseline>,
    /// Of the figure to its baseline; the median of the rounds' ratios.
    pub ratio: Option<f64>,
    pub target: Option<Target>,
    pub met: Option<bool>,
}

#[derive(Debug, Serialize)]
pub struct Baseline {
    pub what: &'static str,
    pub figure: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Target {
    of: Of,
    bound: Bound,
    value: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Of {
    Figure,
    Ratio,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtLeast,
    AtMost,
}

impl Report {
    pub fn new(setting: String, rows: Vec<Row>) -> Self {
        Self {
            benchmark: "",
            setting,
            load_before: None,
            rows,
            notes: Vec::new(),
            formats: BTreeMap::new(),
        }
    }

    pub fn with_formats(mut self, formats: BTreeMap<String, FormatFigures>) -> Self {
        self.formats = formats;
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

impl Row {
    pub fn new(name: &'static str, figure: f64, unit: &'static str) -> Self {
        Self {
            name,
            figure,
            unit,
            baseline: None,
            ratio: None,
            target: None,
            met: None,
        }
    }

    pub fn against(mut self, what: &'static str, figure: f64, ratio: f64) -> Self {
        self.baseline = Some(Baseline { what, figure });
        self.ratio = Some(ratio);
        self
    }

    pub fn at_least(self, value: f64) -> Self {
        self.aim(Of::Figure, Bound::AtLeast, value)
    }

    pub fn at_most(self, value: f64) -> Self {
        self.aim(Of::Figure, Bound::AtMost, value)
    }

    pub fn ratio_at_least(self, value: f64) -> Self {
        self.aim(Of::Ratio, Bound::AtLeast, value)
    }

    pub fn ratio_at_most(self, value: f64) -> Self {
        self.aim(Of::Ratio, Bound::AtMost, value)
    }

    fn aim(mut self, of: Of, bound: Bound, value: f64) -> Self {
        let measured = match of {
            Of::Figure => Some(self.figure),
            Of::Ratio => self.ratio,
        };
        self.target = Some(Target { of, bound, value });
        self.met = measured.map(|measured| match bound {
            Bound::AtLeast => measured >= value,
            Bound::AtMost => measured <= value,
        });
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.benchmark, self.setting)?;
        if let Some(load) = self.load_before {
            write!(f, "; load {load:.1} before")?;
        }
        writeln!(f)?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_unit = |figure: f64| format!("{} {}", digits(figure), self.unit);
        write!(f, "  {:<32} {:>18}", self.name, with_unit(self.figure))?;
        if let (Some(baseline), Some(ratio)) = (&self.baseline, self.ratio) {
            let against = format!("{} {}", with_unit(baseline.figure), baseline.what);
            write!(f, "  against {against:<44} {ratio:>6.3}×")?;
        }
        if let (Some(target), Some(met)) = (self.target, self.met) {
            let sign = match target.bound {
                Bound::AtLeast => '≥',
                Bound::AtMost => '≤',
            };
            let value = target.value;
            let value = match target.of {
                Of::Figure => with_unit(value),
                Of::Ratio => format!("{value}×"),
            };
            let verdict = if met { "met" } else { "MISSED" };
            write!(f, "  target {sign} {}: {verdict}", value.trim_end())?;
        }
        Ok(())
    }
}

/// Three digits that count, or all before the point.
fn digits(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_of_the_figure_or_of_the_ratio() {
        let row = || Row::new("a", 19.0, "ms").against("b", 20.0, 0.95);
        assert_eq!(row().ratio_at_least(0.95).met, Some(true));
        assert_eq!(row().ratio_at_most(0.9).met, Some(false));
        assert_eq!(row().at_most(15.0).met, Some(false));
        assert_eq!(row().at_least(19.0).met, Some(true));
        assert_eq!(
            Row::new("a", 1.0, "ms").ratio_at_most(2.0).met,
            None,
            "no ratio"
        );
        let text = row().ratio_at_most(0.9).to_string();
        assert!(text.contains("19.0 ms"), "{text}");
        assert!(text.ends_with("0.950×  target ≤ 0.9×: MISSED"), "{text}");
    }
}
