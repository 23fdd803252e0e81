//! A bar for everyone measured, row by row; in each row the longest is the largest value.

use crate::{
    number,
    summary::Table,
    svg::{Anchor, Svg},
};

const WIDTH: f64 = 840.0;
const BARS_FROM: f64 = 290.0;
const BARS_TO: f64 = 760.0;
const BAR: f64 = 14.0;
const STEP: f64 = 20.0;

pub(crate) fn chart(table: &Table) -> String {
    let mut svg = Svg::new();
    let mut y = 8.0;
    let mut names: Vec<&str> = Vec::new();
    for row in &table.rows {
        y += STEP;
        svg.text(
            8.0,
            y - 4.0,
            Anchor::Start,
            "",
            format_args!("{} ({})", row.name, row.unit),
        );
        let found: Vec<_> = row
            .series
            .iter()
            .filter_map(|series| Some((series, series.at(None)?)))
            .collect();
        let most = found
            .iter()
            .map(|(_, summary)| summary.most)
            .fold(f64::MIN_POSITIVE, f64::max);
        let at = |value: f64| BARS_FROM + (BARS_TO - BARS_FROM) * value / most;
        for (series, summary) in found {
            // The same colour for the same name in all rows.
            let colour = names.iter().position(|name| *name == series.name);
            let colour = colour.unwrap_or_else(|| {
                names.push(&series.name);
                names.len() - 1
            });
            svg.text(
                BARS_FROM - 8.0,
                y + BAR - 3.0,
                Anchor::End,
                "faint",
                &series.name,
            );
            svg.bar(
                BARS_FROM,
                y,
                (at(summary.median) - BARS_FROM).max(1.0),
                BAR,
                colour,
            );
            let middle = y + BAR / 2.0;
            svg.line(
                (at(summary.least), middle),
                (at(summary.most), middle),
                "spread",
            );
            svg.text(
                at(summary.most) + 6.0,
                y + BAR - 3.0,
                Anchor::Start,
                "",
                number(summary.median),
            );
            y += STEP;
        }
    }
    svg.finish(WIDTH, y + 8.0, &table.name)
}
