//! Records, put together.

use relay_bench::Record;

/// Everything of one table, in the order it was first measured.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// What was between the ends of the long line, where there was one.
    pub(crate) lines: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// One thing that was measured.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) series: Vec<Series>,
}

/// One who was measured.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    records: Vec<Record>,
}

/// What came out in all repetitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

pub(crate) fn tables(records: &[Record]) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for record in records {
        let table = find_or_add(
            &mut tables,
            |table| table.name == record.table,
            || Table {
                name: record.table.clone(),
                lines: Vec::new(),
                rows: Vec::new(),
            },
        );
        if let Some(line) = &record.line {
            find_or_add(&mut table.lines, |known| known == line, || line.clone());
        }
        let row = find_or_add(
            &mut table.rows,
            |row| row.name == record.row,
            || Row {
                name: record.row.clone(),
                unit: record.unit.clone(),
                series: Vec::new(),
            },
        );
        let series = find_or_add(
            &mut row.series,
            |series| series.name == record.series,
            || Series {
                name: record.series.clone(),
                records: Vec::new(),
            },
        );
        series.records.push(record.clone());
    }
    tables
}

fn find_or_add<T>(
    items: &mut Vec<T>,
    is_it: impl Fn(&T) -> bool,
    new: impl FnOnce() -> T,
) -> &mut T {
    let found = items.iter().position(is_it);
    let index = found.unwrap_or_else(|| {
        items.push(new());
        items.len() - 1
    });
    &mut items[index]
}

impl Table {
    /// Whether it shows how something grows.
    pub(crate) fn grows(&self) -> bool {
        let mut records = self
            .rows
            .iter()
            .flat_map(|row| &row.series)
            .flat_map(|series| &series.records);
        records.any(|record| record.x.is_some())
    }
}

impl Row {
    /// Where anyone was measured, in order.
    pub(crate) fn points(&self) -> Vec<f64> {
        let mut points: Vec<_> = self.series.iter().flat_map(Series::points).collect();
        points.sort_by(f64::total_cmp);
        points.dedup();
        points
    }
}

impl Series {
    /// Where it was measured.
    pub(crate) fn points(&self) -> Vec<f64> {
        let mut points: Vec<_> = self.records.iter().filter_map(|record| record.x).collect();
        points.sort_by(f64::total_cmp);
        points.dedup();
        points
    }

    /// What came out there, if it was measured.
    pub(crate) fn at(&self, x: Option<f64>) -> Option<Summary> {
        let records = self.records.iter().filter(|record| record.x == x);
        let mut values: Vec<_> = records.map(|record| record.value).collect();
        values.sort_by(f64::total_cmp);
        Some(Summary {
            least: *values.first()?,
            most: *values.last()?,
            median: median(&values),
        })
    }

    /// How many times the other it is, as the median over the repetitions, in each of which both had the same machine.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        let same_time = |record: &&Record, repetition| record.repetition == repetition;
        let ratios = self.records.iter().filter_map(|ours| {
            let theirs = other
                .records
                .iter()
                .find(|record| same_time(record, ours.repetition))?;
            Some(ours.value / theirs.value)
        });
        let mut ratios: Vec<_> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        median(&ratios)
    }
}

/// Of sorted values; none of none.
fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_bench::Better;

    fn record(series: &str, repetition: u32, value: f64) -> Record {
        Record {
            line: None,
            table: "t".to_owned(),
            row: "r".to_owned(),
            series: series.to_owned(),
            x: None,
            unit: "u".to_owned(),
            value,
            repetition,
            better: Better::Higher,
        }
    }

    #[test]
    fn ratios_compare_within_a_repetition() {
        let records = [
            record("us", 0, 10.0),
            record("them", 0, 5.0),
            record("us", 1, 100.0),
            record("them", 1, 50.0),
            record("us", 2, 12.0),
            record("them", 2, 6.0),
        ];
        let tables = tables(&records);
        let [us, them] = &tables[0].rows[0].series[..] else {
            panic!("two series")
        };
        let summary = us.at(None).unwrap();
        assert_eq!(
            summary,
            Summary {
                median: 12.0,
                least: 10.0,
                most: 100.0
            }
        );
        assert_eq!(them.ratio_to(us), 0.5);
        assert!(!tables[0].grows());
    }
}
