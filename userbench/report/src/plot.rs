// SPDX-License-Identifier: GPL-2.0

//! Plots, as SVG.

use crate::interval::Interval;
use anyhow::{Result, anyhow};
use common::size::Size;
use plotters::{coord::Shift, prelude::*};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const GREY: RGBColor = RGBColor(120, 120, 120);
const FONT: &str = "sans-serif";

/// Points in the order of x, which are powers of two.
pub struct Line {
    pub name: String,
    pub points: Vec<(u64, Interval)>,
}

fn svg(size: (u32, u32), draw: impl FnOnce(&Area) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        draw(&area)?;
        area.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(text)
}

/// What gains are plotted over.
#[derive(Clone, Copy, PartialEq)]
pub enum Axis {
    /// Powers of two, all as far apart.
    Size,
    /// As many workers are to be so many times as fast: a straight line.
    Workers,
}

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Workers => "workers",
        }
    }

    fn position(self, x: u64) -> f64 {
        match self {
            Self::Size => (x as f64).log2(),
            Self::Workers => x as f64,
        }
    }

    fn label(self, position: f64) -> String {
        match self {
            Self::Size => Size(position.exp2().round() as u64).to_string(),
            Self::Workers => position.to_string(),
        }
    }

    /// How many labels there may be.
    fn labels(self, range: f64) -> usize {
        match self {
            Self::Size => range as usize + 1,
            Self::Workers => 10,
        }
    }
}

/// Gains with their intervals.
pub fn lines(axis: Axis, lines: &[Line]) -> Result<String> {
    svg((800, 420), |area| {
        let points = || lines.iter().flat_map(|line| &line.points);
        let first = points().map(|point| point.0).min().unwrap_or(1);
        let last = points().map(|point| point.0).max().unwrap_or(1);
        let top = points().fold(1.2, |top: f64, (_, gain)| top.max(gain.high));
        let ideal = axis == Axis::Workers;
        let top = if ideal { top.max(last as f64) } else { top };
        let (left, right) = (axis.position(first) - 0.3, axis.position(last) + 0.3);

        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(left..right, 0.0..top * 1.08)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.2))
            .x_labels(axis.labels(right - left))
            .x_label_formatter(&|&x| axis.label(x))
            .y_label_formatter(&|y| format!("{y:.1}"))
            .label_style((FONT, 14))
            .x_desc(axis.name())
            .y_desc("serial time / parallel time")
            .draw()?;

        let even = [(left, 1.0), (right, 1.0)];
        chart.draw_series(LineSeries::new(even, GREY.stroke_width(2)))?;
        if ideal {
            let ends = [first, last].map(|x| (x as f64, x as f64));
            chart
                .draw_series(DashedLineSeries::new(ends, 5, 4, GREY.stroke_width(1)))?
                .label("ideal")
                .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], GREY));
        }
        for (index, line) in lines.iter().enumerate() {
            let color = COLORS[index % COLORS.len()];
            // Where points are at the same x, their bars are beside each other.
            let aside = (index as f64 - (lines.len() - 1) as f64 / 2.0) * 0.04;
            let at = |x: u64| axis.position(x) + aside;
            let values = line.points.iter().map(|&(x, gain)| (at(x), gain.value));
            chart
                .draw_series(LineSeries::new(values.clone(), color.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2))
                });
            chart.draw_series(values.map(|point| Circle::new(point, 3, color.filled())))?;
            chart.draw_series(line.points.iter().map(|&(x, gain)| {
                let ends = [(at(x), gain.low), (at(x), gain.high)];
                PathElement::new(ends, color.stroke_width(1))
            }))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(GREY.mix(0.4))
            .label_font((FONT, 14))
            .draw()?;
        Ok(())
    })
}

/// A row of a heat map.
pub struct Row {
    pub name: String,
    /// By size; the gain, and whether the policy splits.
    pub cells: Vec<(Size, f64, bool)>,
    /// From which size on all win.
    pub break_even: Option<Size>,
}

/// Blue for what wins, red for what loses: white is in the middle.
fn color(gain: f64) -> RGBColor {
    let strength = (gain.log2().abs() / 2.0).min(1.0).sqrt();
    let fade = |end: u8| (255.0 - strength * f64::from(255 - end)) as u8;
    if gain >= 1.0 {
        RGBColor(fade(70), fade(140), fade(220))
    } else {
        RGBColor(fade(220), fade(90), fade(70))
    }
}

/// Gains over size and width. A thick line is where it begins to pay, and a frame is around what the
/// policy splits.
pub fn heat_map(rows: &[Row]) -> Result<String> {
    const LEFT: i32 = 130;
    const CELL: (i32, i32) = (60, 40);
    let mut sizes: Vec<_> = rows
        .iter()
        .flat_map(|row| row.cells.iter().map(|cell| cell.0))
        .collect();
    sizes.sort();
    sizes.dedup();
    let width = LEFT + CELL.0 * sizes.len() as i32 + 12;
    let height = CELL.1 * rows.len() as i32 + 40;

    svg((width as u32, height as u32), |area| {
        let text = |text: String, at: (i32, i32), color: RGBColor| {
            let style = (FONT, 14).into_font().color(&color);
            let style = style.pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Center,
                plotters::style::text_anchor::VPos::Center,
            ));
            area.draw(&Text::new(text, at, style))
        };
        let corner =
            |column: usize, row: usize| (LEFT + CELL.0 * column as i32, 6 + CELL.1 * row as i32);
        for (index, row) in rows.iter().enumerate() {
            let (x, y) = corner(0, index);
            text(row.name.clone(), (x / 2, y + CELL.1 / 2), BLACK)?;
            for &(size, gain, splits) in &row.cells {
                let column = sizes.binary_search(&size).expect("all sizes are there");
                let (x, y) = corner(column, index);
                let cell = [(x + 1, y + 1), (x + CELL.0 - 1, y + CELL.1 - 1)];
                area.draw(&Rectangle::new(cell, color(gain).filled()))?;
                text(
                    format!("{gain:.2}"),
                    (x + CELL.0 / 2, y + CELL.1 / 2),
                    BLACK,
                )?;
                if splits {
                    let frame = [(x + 3, y + 3), (x + CELL.0 - 4, y + CELL.1 - 4)];
                    area.draw(&Rectangle::new(frame, BLACK.stroke_width(2)))?;
                }
            }
            if let Some(column) = row
                .break_even
                .and_then(|size| sizes.binary_search(&size).ok())
            {
                let (x, y) = corner(column, index);
                let line = [(x, y), (x, y + CELL.1)];
                area.draw(&PathElement::new(line, COLORS[1].stroke_width(5)))?;
            }
        }
        for (column, size) in sizes.iter().enumerate() {
            let (x, y) = corner(column, rows.len());
            text(size.to_string(), (x + CELL.0 / 2, y + 14), BLACK)?;
        }
        Ok(())
    })
}
