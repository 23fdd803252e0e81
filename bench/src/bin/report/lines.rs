//! How values grow: a line for everyone measured, both axes logarithmic, so that growth in proportion is a straight slope.

use crate::{
    number,
    summary::{Row, Table},
    svg::{Anchor, Svg},
};

const WIDTH: f64 = 840.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 20.0;

pub(crate) fn chart(table: &Table) -> String {
    let mut svg = Svg::new();
    for (index, row) in table.rows.iter().enumerate() {
        draw(&mut svg, row, index as f64 * HEIGHT);
    }
    svg.finish(WIDTH, table.rows.len() as f64 * HEIGHT, &table.name)
}

/// From the power of ten below the least to the one above the most.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        });
    let (low, high) = (least.log10().floor(), most.log10().ceil());
    (low, high.max(low + 1.0))
}

fn draw(svg: &mut Svg, row: &Row, top: f64) {
    let points = row.points();
    let (low_x, high_x) = decades(points.iter().copied());
    let values = row.series.iter().flat_map(|series| {
        series
            .points()
            .into_iter()
            .filter_map(|x| Some(series.at(Some(x))?.median))
    });
    let (low_y, high_y) = decades(values);
    let (ceiling, floor) = (top + 50.0, top + HEIGHT - 40.0);
    let x_at = |x: f64| LEFT + (RIGHT - LEFT) * (x.log10() - low_x) / (high_x - low_x);
    let y_at = |y: f64| floor - (floor - ceiling) * (y.log10() - low_y) / (high_y - low_y);

    svg.text(8.0, top + 18.0, Anchor::Start, "", &row.name);
    for decade in low_y as i32..=high_y as i32 {
        let value = 10_f64.powi(decade);
        svg.line((LEFT, y_at(value)), (RIGHT, y_at(value)), "grid");
        svg.text(
            LEFT - 6.0,
            y_at(value) + 4.0,
            Anchor::End,
            "faint",
            number(value),
        );
    }
    for x in points {
        svg.line((x_at(x), floor), (x_at(x), floor + 4.0), "grid");
        svg.text(x_at(x), floor + 18.0, Anchor::Middle, "faint", number(x));
    }
    let mut legend = LEFT;
    for (colour, series) in row.series.iter().enumerate() {
        svg.bar(legend, top + 28.0, 10.0, 10.0, colour);
        svg.text(legend + 14.0, top + 38.0, Anchor::Start, "", &series.name);
        legend += 30.0 + 7.0 * series.name.len() as f64;
        let line: Vec<_> = series
            .points()
            .into_iter()
            .filter_map(|x| Some((x_at(x), y_at(series.at(Some(x))?.median))))
            .collect();
        svg.path(&line, colour);
    }
}
