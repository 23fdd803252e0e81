//! Turns records into tables and charts: `report DOCUMENT RECORDS…` writes them between the two marks in the document, and the
//! charts into the directory of the document's name, beside it.

mod bars;
mod lines;
mod summary;
mod svg;

use relay_bench::Record;
use std::{
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};
use summary::{Row, Table, tables};

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let Some((document, records)) = arguments.split_first() else {
        eprintln!("report: give the document, and files of records");
        return ExitCode::FAILURE;
    };
    match report(document, records) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(document: &Path, files: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let mut records: Vec<Record> = Vec::new();
    for file in files {
        let text =
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        for (number, line) in text.lines().enumerate() {
            let record = serde_json::from_str(line);
            records.push(
                record.map_err(|error| format!("{}:{}: {error}", file.display(), number + 1))?,
            );
        }
    }
    let name = document.file_stem().ok_or("the document has no name")?;
    let charts = document.with_file_name(name);
    fs::create_dir_all(&charts)?;

    let mut measured = String::new();
    for table in tables(&records) {
        let file = format!("{}.svg", file_name(&table.name));
        let chart = if table.grows() {
            lines::chart(&table)
        } else {
            bars::chart(&table)
        };
        fs::write(charts.join(&file), chart)?;
        let path = Path::new(name).join(&file);
        write!(
            measured,
            "\n### {}\n\n![{}]({})\n\n",
            table.name,
            table.name,
            path.display()
        )?;
        for line in &table.lines {
            write!(measured, "Over {line}.\n\n")?;
        }
        for row in &table.rows {
            write_row(&mut measured, &table, row)?;
        }
    }
    let text = fs::read_to_string(document)?;
    let missing = || {
        format!(
            "{} has no {BEGIN} with an {END} behind it",
            document.display()
        )
    };
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(
        document,
        format!("{before}{BEGIN}\n{measured}\n{END}{after}"),
    )?;
    Ok(())
}

fn file_name(table: &str) -> String {
    let words = table.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<_> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-")
}

/// A row that grows is one line for each point; others have one for each who was measured.
fn write_row(output: &mut String, table: &Table, row: &Row) -> Result<(), std::fmt::Error> {
    let unit = &row.unit;
    if table.grows() {
        write!(output, "| {} |", row.name)?;
        let points = row.points();
        for series in &row.series {
            write!(output, " {}, {unit} |", series.name)?;
        }
        write!(output, "\n| --- |{}\n", " --- |".repeat(row.series.len()))?;
        for x in points {
            write!(output, "| {} |", number(x))?;
            for series in &row.series {
                let summary = series.at(Some(x));
                let text = summary.map_or_else(String::new, |found| {
                    format!(
                        "{} ({}–{})",
                        number(found.median),
                        number(found.least),
                        number(found.most)
                    )
                });
                write!(output, " {text} |")?;
            }
            output.push('\n');
        }
    } else {
        write!(
            output,
            "| {} | {unit} | least–most | × the first |\n| --- | --- | --- | --- |\n",
            row.name
        )?;
        for series in &row.series {
            let Some(found) = series.at(None) else {
                continue;
            };
            let (median, least, most) = (
                number(found.median),
                number(found.least),
                number(found.most),
            );
            let ratio = number(series.ratio_to(&row.series[0]));
            writeln!(
                output,
                "| {} | {median} | {least}–{most} | {ratio} |",
                series.name
            )?;
        }
    }
    output.push('\n');
    Ok(())
}

/// With three digits that count, and thousands apart.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((&*text, ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_readable() {
        let cases = [
            (0.123, "0.12"),
            (5.0, "5.00"),
            (28.44, "28.4"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn file_names_are_plain() {
        assert_eq!(
            file_name("At a round trip of 50 ms"),
            "at-a-round-trip-of-50-ms"
        );
    }
}
