//! From samples to medians, and from medians to a table.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// Adds the median, the spread and the ratio to each measure.
pub(super) fn summarise(measures: Vec<Value>) -> Vec<Value> {
    measures.into_iter().map(summary).collect()
}

fn summary(measure: Value) -> Value {
    let (Some(ours), Some(stock)) = (samples(&measure, "ours"), samples(&measure, "stock")) else {
        return measure;
    };
    let (Some(our_median), Some(stock_median)) = (quantile(&ours, 0.5), quantile(&stock, 0.5))
    else {
        return measure;
    };
    let ratio = our_median / stock_median;
    let target = measure.get("target").and_then(Value::as_f64);
    let faster_is_more = measure
        .get("unit")
        .and_then(Value::as_str)
        .is_some_and(|unit| unit.ends_with("/s"));
    let met = target.map(|target| {
        if faster_is_more {
            ratio >= target
        } else {
            ratio <= target
        }
    });
    json!({
        "area": measure.get("area"),
        "name": measure.get("name"),
        "unit": measure.get("unit"),
        "target": target,
        "ratio": ratio,
        "met": met,
        "ours": side(our_median, &ours),
        "stock": side(stock_median, &stock),
    })
}

fn side(median: f64, samples: &[f64]) -> Value {
    let spread = match (quantile(samples, 0.25), quantile(samples, 0.75)) {
        (Some(low), Some(high)) => high - low,
        _ => 0.0,
    };
    json!({ "median": median, "interquartile_range": spread, "samples": samples })
}

fn samples(measure: &Value, side: &str) -> Option<Vec<f64>> {
    let list = measure.get(side)?.as_array()?;
    Some(list.iter().filter_map(Value::as_f64).collect())
}

/// Between two samples, in proportion.
fn quantile(samples: &[f64], part: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = part * (sorted.len().checked_sub(1)? as f64);
    let below = *sorted.get(position.floor() as usize)?;
    let above = *sorted.get(position.ceil() as usize)?;
    Some(below + (above - below) * position.fract())
}

/// The table, as Markdown, so that it can go into a document as it is.
pub(super) fn render(report: &Value) -> String {
    let mut text = String::from(
        "\n| area | measure | unit | ours | ± | stock | ± | ours/stock | target |\n\
         |---|---|---|---:|---:|---:|---:|---:|---|\n",
    );
    for measure in measures(report) {
        let (area, name) = (text_of(measure, "area"), text_of(measure, "name"));
        if let Some(error) = measure.get("error").and_then(Value::as_str) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {area} | {name} | not measured: {error} |");
            continue;
        }
        let number = |side: &str, key: &str| {
            let number = measure.get(side).and_then(|side| side.get(key));
            significant(number.and_then(Value::as_f64).unwrap_or(f64::NAN))
        };
        let _ = writeln!(
            text,
            "| {area} | {name} | {} | {} | {} | {} | {} | {} | {} |",
            text_of(measure, "unit"),
            number("ours", "median"),
            number("ours", "interquartile_range"),
            number("stock", "median"),
            number("stock", "interquartile_range"),
            significant(
                measure
                    .get("ratio")
                    .and_then(Value::as_f64)
                    .unwrap_or(f64::NAN)
            ),
            goal(measure),
        );
    }
    let machine = report.get("machine").and_then(Value::as_object);
    let empty = Map::new();
    let described: Vec<String> = machine
        .unwrap_or(&empty)
        .iter()
        .map(|(key, value)| match value.as_str() {
            Some(value) => format!("{key}: {value}"),
            None => format!("{key}: {value}"),
        })
        .collect();
    let _ = writeln!(
        text,
        "\nMedians; ± is the interquartile range, the machine's noise. {}.",
        described.join("; ")
    );
    if busy(report) {
        text.push_str(
            "\nThe machine had more to do than it has processors: a daemon that works \
             in bursts, or in several processes, then gets more of them. Repeat this \
             on a quiet machine.\n",
        );
    }
    text
}

/// Whether others wanted the processors while the measures were taken.
fn busy(report: &Value) -> bool {
    let machine = |key: &str| report.get("machine").and_then(|machine| machine.get(key));
    let load = machine("load")
        .and_then(Value::as_str)
        .and_then(|load| load.parse::<f64>().ok());
    let processors = machine("processors").and_then(Value::as_f64);
    load.zip(processors)
        .is_some_and(|(load, processors)| load > processors + 2.0)
}

fn goal(measure: &Value) -> String {
    let Some(target) = measure.get("target").and_then(Value::as_f64) else {
        return String::new();
    };
    let more = text_of(measure, "unit").ends_with("/s");
    let sign = if more { ">=" } else { "<=" };
    match measure.get("met").and_then(Value::as_bool) {
        Some(true) => format!("{sign} {target}, met"),
        _ => format!("{sign} {target}, **missed**"),
    }
}

/// The names of what could not be measured.
pub(super) fn errors(report: &Value) -> Vec<String> {
    measures(report)
        .filter(|measure| measure.get("error").is_some())
        .map(|measure| text_of(measure, "name"))
        .collect()
}

fn measures(report: &Value) -> impl Iterator<Item = &Value> {
    report
        .get("measures")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text_of(measure: &Value, key: &str) -> String {
    let text = measure.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// Three digits that mean something.
fn significant(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[7.0], 0.25), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_time_must_be_small_and_a_rate_big() {
        let measure = |unit: &str| {
            summary(json!({
                "name": "x", "unit": unit, "target": 1.5, "ours": [30.0], "stock": [10.0],
            }))
        };
        assert_eq!(measure("ms").get("met"), Some(&json!(false)));
        assert_eq!(measure("MB/s").get("met"), Some(&json!(true)));
    }

    #[test]
    fn what_was_not_measured_is_named() {
        let report = json!({ "measures": [{ "name": "x", "error": "no such call" }] });
        assert_eq!(errors(&report), ["x"]);
        assert!(render(&report).contains("not measured: no such call"));
    }

    #[test]
    fn a_busy_machine_is_named() {
        let report = |load: &str| json!({ "machine": { "load": load, "processors": 2 } });
        assert!(render(&report("9.31")).contains("quiet machine"));
        assert!(!render(&report("2.10")).contains("quiet machine"));
    }
}
