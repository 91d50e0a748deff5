//! Charts with axes, as SVG.
//!
//! Colours are those of the light scheme; `style.css` turns each into a variable of the page, so that a chart follows
//! the reader's scheme.

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

use crate::ReportError;
use crate::axis::{ABOVE, Axis, BELOW, GAP, HEIGHT, LEFT, RIGHT, ROW, Scale, UNITS, WIDTH, text_width};

/// What was measured.
const DATA: RGBColor = RGBColor(0x2F, 0x6A, 0xB3);
/// What it is measured against.
const REFERENCE: RGBColor = RGBColor(0xB8, 0x5C, 0x0A);
/// The colors of several series; the first two are what was measured and what that is measured against.
const SERIES: [RGBColor; 6] = [
    DATA,
    REFERENCE,
    RGBColor(0x1A, 0x73, 0x44),
    RGBColor(0x8A, 0x3F, 0xA0),
    RGBColor(0x0B, 0x6F, 0x7C),
    RGBColor(0x55, 0x60, 0x6E),
];
/// Text.
const INK: RGBColor = RGBColor(0x55, 0x60, 0x6E);
/// Grid and axes.
const GRID: RGBColor = RGBColor(0xE1, 0xE6, 0xEC);

const FONT: u32 = 15 * UNITS;
const LINE: u32 = 2 * UNITS;
const TICK: u32 = 5 * UNITS;
/// Length of a line in a legend.
const SAMPLE: i32 = 26 * UNITS as i32;

/// A drawn chart.
#[derive(Debug, Serialize)]
pub(crate) struct Chart {
    /// Its name in the page.
    id: String,
    width: u32,
    height: u32,
    /// The elements inside `<svg>`, and its end. The library escaped their texts.
    marks: String,
    /// What it shows, in a line.
    title: String,
    /// Its values in words.
    description: String,
}

/// A line of a chart.
pub(crate) struct Curve {
    /// Its name.
    pub(crate) name: String,
    /// Its points, which a line joins in their order; those outside of the axes are left out.
    pub(crate) points: Vec<(f64, f64)>,
    /// Its position among the series: 0 is what was measured, 1 what that is measured against. All but the first are
    /// dashed, each in its own way.
    pub(crate) series: usize,
    /// Whether its points are measured ones, to be marked.
    pub(crate) dots: bool,
}

impl Curve {
    fn color(&self) -> RGBColor {
        SERIES[self.series % SERIES.len()]
    }

    /// Lengths of dash and space, unless its line is whole.
    fn dash(&self) -> Option<(u32, u32)> {
        let (dash, space) = [(6, 4), (2, 3), (12, 4), (9, 2), (4, 8)][self.series.checked_sub(1)? % 5];
        Some((dash * UNITS, space * UNITS))
    }
}

/// A bar of a chart.
pub(crate) struct Bar {
    /// Its position on the axis.
    pub(crate) from: f64,
    /// Where it ends.
    pub(crate) to: f64,
    /// Its height.
    pub(crate) height: f64,
    /// What is written above it.
    pub(crate) label: String,
}

/// The points of curves in words.
pub(crate) fn described(drawn: &[Curve], said: impl Fn((f64, f64)) -> String) -> String {
    let curve = |curve: &Curve| {
        let points: Vec<String> = curve.points.iter().map(|point| said(*point)).collect();
        format!("{}: {}.", curve.name, points.join(", "))
    };
    drawn.iter().map(curve).collect::<Vec<_>>().join(" ")
}

/// What a chart is called, and what it says to those who don't see it.
pub(crate) struct Caption {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// What a chart has besides its bars.
#[derive(Default)]
pub(crate) struct Beside {
    /// A line across, with its name.
    pub(crate) reference: Option<(f64, String)>,
    /// Outlines of other bars, as steps.
    pub(crate) outlines: Vec<Curve>,
    /// The name of the bars, where there is something else.
    pub(crate) name: String,
    /// Labels along the upper edge.
    pub(crate) above: Vec<(f64, String)>,
}

/// Curves over two axes, with their names above them.
pub(crate) fn curves(
    caption: Caption,
    x: &Axis<'_>,
    y: &Axis<'_>,
    curves: &[Curve],
) -> Result<Chart, ReportError> {
    let legend = curves.iter().map(Entry::of).collect();
    draw(caption, legend, y, |area| draw_curves(area, x, y, curves))
}

/// Bars over two axes, with other marks.
pub(crate) fn bars(
    caption: Caption,
    x: &Axis<'_>,
    y: &Axis<'_>,
    bars: &[Bar],
    beside: &Beside,
) -> Result<Chart, ReportError> {
    let mut legend = Vec::new();
    if !beside.outlines.is_empty() || beside.reference.is_some() {
        legend.push(Entry { name: beside.name.clone(), color: DATA, sample: Sample::Bar });
    }
    legend.extend(beside.outlines.iter().map(Entry::of));
    if let Some((_, name)) = &beside.reference {
        legend.push(Entry { name: name.clone(), color: REFERENCE, sample: Sample::Line(REFERENCE_DASH) });
    }
    draw(caption, legend, y, |area| draw_bars(area, x, y, bars, beside))
}

/// Lengths of dash and space of a line of reference.
const REFERENCE_DASH: Option<(u32, u32)> = Some((6 * UNITS, 4 * UNITS));

/// An entry of a legend.
struct Entry {
    name: String,
    color: RGBColor,
    sample: Sample,
}

/// What an entry of a legend shows before its name.
enum Sample {
    Bar,
    /// With lengths of dash and space, unless it is whole.
    Line(Option<(u32, u32)>),
    /// The same with the mark of a series.
    Marked(Option<(u32, u32)>, usize),
}

impl Entry {
    fn of(curve: &Curve) -> Self {
        let dash = curve.dash();
        let sample = if curve.dots { Sample::Marked(dash, curve.series) } else { Sample::Line(dash) };
        Self { name: curve.name.clone(), color: curve.color(), sample }
    }
}

/// Draws a chart below its legend and the title of the axis upwards, so that neither lies over the data.
fn draw(
    caption: Caption,
    legend: Vec<Entry>,
    y: &Axis<'_>,
    marks: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<Chart, ReportError> {
    let (placed, rows) = in_rows(legend);
    let above = ROW * (rows + 1);
    let height = HEIGHT + above as u32;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    let (head, body) = area.split_vertically(above);
    draw_legend(&head, &placed)
        .and_then(|()| {
            let style = font(INK).pos(Pos::new(HPos::Left, VPos::Center));
            head.draw(&Text::new(y.title(), (0, above - ROW / 2), style)).map_err(Into::into)
        })
        .and_then(|()| marks(&body))
        .and_then(|()| area.present().map_err(Into::into))
        .map_err(|error| ReportError::Chart { chart: caption.id.clone(), reason: error.to_string() })?;
    drop((head, body, area));
    // The page opens the element on its own, with its title and without the namespace's address.
    let marks = svg.split_once('>').map(|(_, marks)| marks.to_owned()).unwrap_or_default();
    let Caption { id, title, description } = caption;
    Ok(Chart { id, width: WIDTH, height, marks, title, description })
}

/// Entries of a legend with the left ends of their samples, and the number of rows that they take.
fn in_rows(legend: Vec<Entry>) -> (Vec<(i32, i32, Entry)>, i32) {
    let (mut x, mut row, mut placed) = (0, 0, Vec::new());
    for entry in legend {
        let width = SAMPLE + GAP + text_width(&entry.name);
        if x > 0 && x + width > WIDTH as i32 {
            (x, row) = (0, row + 1);
        }
        placed.push((x, row * ROW + ROW / 2, entry));
        x += width + GAP;
    }
    let rows = if placed.is_empty() { 0 } else { row + 1 };
    (placed, rows)
}

/// Writes the names of a legend, each after a sample.
fn draw_legend(area: &Area<'_>, placed: &[(i32, i32, Entry)]) -> Drawn {
    for (x, y, entry) in placed {
        let (x, y, color) = (*x, *y, entry.color);
        let line = vec![(x, y), (x + SAMPLE, y)];
        match entry.sample {
            Sample::Bar => {
                let high = 5 * UNITS as i32;
                area.draw(&Rectangle::new([(x, y - high), (x + SAMPLE, y + high)], color.filled()))?;
            }
            Sample::Line(dash) | Sample::Marked(dash, _) => {
                let style = color.stroke_width(LINE);
                match dash {
                    None => area.draw(&PathElement::new(line, style))?,
                    Some((dash, space)) => area.draw(&DashedPathElement::new(line, dash, space, style))?,
                }
            }
        }
        if let Sample::Marked(_, series) = entry.sample {
            let at = (x + SAMPLE / 2, y);
            match shape(series) {
                Shape::Disc => area.draw(&Circle::new(at, MARK, color.filled()))?,
                Shape::Triangle => area.draw(&TriangleMarker::new(at, MARK + UNITS, color.filled()))?,
                Shape::Cross => area.draw(&Cross::new(at, MARK, color.stroke_width(LINE)))?,
            }
        }
        let style = font(INK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(entry.name.clone(), (x + SAMPLE + GAP / 2, y), style))?;
    }
    Ok(())
}

/// Half the width of a measured point.
const MARK: u32 = 4 * UNITS;

/// How the measured points of a series look.
enum Shape {
    Disc,
    Triangle,
    Cross,
}

fn shape(series: usize) -> Shape {
    match series % 3 {
        0 => Shape::Disc,
        1 => Shape::Triangle,
        _ => Shape::Cross,
    }
}

fn builder<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'a, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin_top(ABOVE).margin_right(RIGHT).x_label_area_size(BELOW).y_label_area_size(LEFT);
    builder
}

fn font(color: RGBColor) -> TextStyle<'static> {
    // The backend divides sizes by 1.24.
    ("sans-serif", f64::from(FONT) * 1.24).into_font().color(&color)
}

type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// Grid, axes and their labels.
fn mesh(chart: &mut Plot<'_, '_>, x: &Axis<'_>, y: &Axis<'_>) -> Drawn {
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(UNITS))
        .axis_style(GRID.stroke_width(UNITS))
        .set_all_tick_mark_size(TICK)
        .label_style(font(INK))
        .axis_desc_style(font(INK))
        .x_label_formatter(x.format)
        .y_label_formatter(y.format)
        .x_desc(x.title())
        .draw()?;
    Ok(())
}

fn draw_curves(area: &Area<'_>, x: &Axis<'_>, y: &Axis<'_>, curves: &[Curve]) -> Drawn {
    let mut chart = builder(area).build_cartesian_2d(x.across(), y.upwards())?;
    mesh(&mut chart, x, y)?;
    let inside = |&&(a, b): &&(f64, f64)| (x.from..=x.to).contains(&a) && (y.from..=y.to).contains(&b);
    // What was measured lies over what it is measured against.
    for curve in curves.iter().rev() {
        let points: Vec<(f64, f64)> = curve.points.iter().filter(inside).copied().collect();
        draw_curve(&mut chart, curve, &points)?;
        if curve.dots {
            let (points, color) = (points.into_iter(), curve.color());
            match shape(curve.series) {
                Shape::Disc => {
                    chart.draw_series(points.map(|at| Circle::new(at, MARK, color.filled())))?;
                }
                Shape::Triangle => {
                    chart.draw_series(
                        points.map(|at| TriangleMarker::new(at, MARK + UNITS, color.filled())),
                    )?;
                }
                Shape::Cross => {
                    chart.draw_series(points.map(|at| Cross::new(at, MARK, color.stroke_width(LINE))))?;
                }
            }
        }
    }
    Ok(())
}

/// A line.
fn draw_curve(chart: &mut Plot<'_, '_>, curve: &Curve, points: &[(f64, f64)]) -> Drawn {
    let (points, style) = (points.iter().copied(), curve.color().stroke_width(LINE));
    match curve.dash() {
        Some((dash, space)) => chart.draw_series(DashedLineSeries::new(points, dash, space, style))?,
        None => chart.draw_series(LineSeries::new(points, style))?,
    };
    Ok(())
}

fn draw_bars(area: &Area<'_>, x: &Axis<'_>, y: &Axis<'_>, bars: &[Bar], beside: &Beside) -> Drawn {
    let mut builder = builder(area);
    if !beside.above.is_empty() {
        builder.margin_top(ABOVE + ROW as u32);
    }
    let mut chart = builder.build_cartesian_2d(x.across(), y.upwards())?;
    mesh(&mut chart, x, y)?;
    let (gap, over) = ((x.to - x.from) * 0.002, Pos::new(HPos::Center, VPos::Bottom));
    let shown = || bars.iter().filter(|bar| bar.height > 0.0);
    chart
        .draw_series(shown().map(|bar| {
            Rectangle::new([(bar.from + gap, y.from), (bar.to - gap, bar.height)], DATA.filled())
        }))?;
    let width = f64::from(WIDTH - LEFT - RIGHT) / (x.to - x.from);
    if shown().all(|bar| f64::from(text_width(&bar.label)) <= width * (bar.to - bar.from)) {
        let label = |bar: &Bar| {
            let at = ((bar.from + bar.to) / 2.0, bar.height);
            Text::new(bar.label.clone(), at, font(INK).pos(over))
        };
        chart.draw_series(shown().filter(|bar| !bar.label.is_empty()).map(label))?;
    }
    let label = |(at, text): &(f64, String)| Text::new(text.clone(), (*at, y.to), font(INK).pos(over));
    chart.draw_series(beside.above.iter().map(label))?;
    if let Some(((at, _), (dash, space))) = beside.reference.as_ref().zip(REFERENCE_DASH) {
        let ends = [(*at, y.from), (*at, y.to)];
        chart.draw_series(DashedLineSeries::new(ends, dash, space, REFERENCE.stroke_width(LINE)))?;
    }
    for outline in &beside.outlines {
        draw_curve(&mut chart, outline, &outline.points)?;
    }
    Ok(())
}
