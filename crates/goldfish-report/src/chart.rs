//! Charts with axes, as SVG.
//!
//! Colours are those of the light scheme; `style.css` turns each into a variable of the page, so that a chart follows
//! the reader's scheme.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

use crate::ReportError;
use crate::number::{short_count, short_percent};

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

/// The library counts in whole units: so many of them make a pixel, for smooth curves.
const UNITS: u32 = 4;
const WIDTH: u32 = 600 * UNITS;
const HEIGHT: u32 = 300 * UNITS;
const FONT: u32 = 13 * UNITS;
const LINE: u32 = 2 * UNITS;
/// Room beside the axes.
const LEFT: u32 = 92 * UNITS;
const RIGHT: u32 = 22 * UNITS;
/// Length of a line in a legend, height of its rows, and the space between its entries.
const SAMPLE: i32 = 22 * UNITS as i32;
const ROW: i32 = 18 * UNITS as i32;
const GAP: i32 = 12 * UNITS as i32;

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

/// An axis: what it says, and how its values read.
pub(crate) struct Axis<'a> {
    pub(crate) title: &'a str,
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) log: bool,
    pub(crate) labels: usize,
    pub(crate) format: &'a dyn Fn(&f64) -> String,
}

impl Axis<'_> {
    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

/// An axis of shares, with some room above 1.
pub(crate) fn shares(title: &str) -> Axis<'_> {
    Axis { title, from: 0.0, to: 1.05, log: false, labels: 8, format: &share_label }
}

/// An axis of numbers that are counted from 0.
pub(crate) fn counted(title: &str, last: f64) -> Axis<'_> {
    Axis { title, from: 0.0, to: last * 1.03, log: false, labels: 8, format: &|n| short_count(*n) }
}

/// An axis of losses in nats.
pub(crate) fn losses(title: &str, highest: f64) -> Axis<'_> {
    Axis { title, from: 0.0, to: highest * 1.05, log: false, labels: 6, format: &|loss| format!("{loss:.1}") }
}

/// The points of curves in words.
pub(crate) fn described(drawn: &[Curve], said: impl Fn((f64, f64)) -> String) -> String {
    let curve = |curve: &Curve| {
        let points: Vec<String> = curve.points.iter().map(|point| said(*point)).collect();
        format!("{}: {}.", curve.name, points.join(", "))
    };
    drawn.iter().map(curve).collect::<Vec<_>>().join(" ")
}

fn share_label(share: &f64) -> String {
    if *share > 1.01 { String::new() } else { short_percent(*share) }
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
    /// Outlines of other bars, as steps, and the name of the bars themselves.
    pub(crate) outlines: Vec<Curve>,
    /// The name of the bars, where there are outlines.
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
    draw(caption, |area| match (x.log, y.log) {
        (true, true) => draw_curves(area, (x.range().log_scale(), y.range().log_scale()), x, y, curves),
        (true, false) => draw_curves(area, (x.range().log_scale(), y.range()), x, y, curves),
        (false, true) => draw_curves(area, (x.range(), y.range().log_scale()), x, y, curves),
        (false, false) => draw_curves(area, (x.range(), y.range()), x, y, curves),
    })
}

/// Bars over two axes, with other marks.
pub(crate) fn bars(
    caption: Caption,
    x: &Axis<'_>,
    y: &Axis<'_>,
    bars: &[Bar],
    beside: &Beside,
) -> Result<Chart, ReportError> {
    draw(caption, |area| {
        if y.log {
            draw_bars(area, y.range().log_scale(), x, y, bars, beside)
        } else {
            draw_bars(area, y.range(), x, y, bars, beside)
        }
    })
}

fn draw(caption: Caption, marks: impl FnOnce(&Area<'_>) -> Drawn) -> Result<Chart, ReportError> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
    marks(&area)
        .and_then(|()| area.present().map_err(Into::into))
        .map_err(|error| ReportError::Chart { chart: caption.id.clone(), reason: error.to_string() })?;
    drop(area);
    // The page opens the element on its own, with its title and without the namespace's address.
    let marks = svg.split_once('>').map(|(_, marks)| marks.to_owned()).unwrap_or_default();
    let Caption { id, title, description } = caption;
    Ok(Chart { id, width: WIDTH, height: HEIGHT, marks, title, description })
}

fn builder<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'a, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin_top(14 * UNITS).margin_right(RIGHT).x_label_area_size(50 * UNITS).y_label_area_size(LEFT);
    builder
}

fn font(color: RGBColor) -> TextStyle<'static> {
    // The backend divides sizes by 1.24.
    ("sans-serif", f64::from(FONT) * 1.24).into_font().color(&color)
}

/// Grid, axes and their labels.
fn mesh<'a, 'b, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>,
    x: &Axis<'_>,
    y: &Axis<'_>,
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(UNITS))
        .axis_style(GRID.stroke_width(UNITS))
        .set_all_tick_mark_size(5 * UNITS)
        .label_style(font(INK))
        .axis_desc_style(font(INK))
        .x_labels(x.labels)
        .y_labels(y.labels)
        .x_label_formatter(x.format)
        .y_label_formatter(y.format)
        .x_desc(x.title)
        .y_desc(y.title)
        .draw()?;
    Ok(())
}

fn draw_curves<X, Y>(area: &Area<'_>, ranges: (X, Y), x: &Axis<'_>, y: &Axis<'_>, curves: &[Curve]) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let area = names_above(area, curves)?;
    let mut chart = builder(&area).build_cartesian_2d(ranges.0, ranges.1)?;
    mesh(&mut chart, x, y)?;
    let inside = |&&(a, b): &&(f64, f64)| (x.from..=x.to).contains(&a) && (y.from..=y.to).contains(&b);
    // What was measured lies over what it is measured against.
    for curve in curves.iter().rev() {
        let points: Vec<(f64, f64)> = curve.points.iter().filter(inside).copied().collect();
        draw_curve(&mut chart, curve, &points)?;
        if curve.dots {
            let dots = points.into_iter().map(|point| Circle::new(point, 3 * UNITS, curve.color().filled()));
            chart.draw_series(dots)?;
        }
    }
    Ok(())
}

/// Writes the names of curves in rows, each after a sample of its line; gives the area below them.
fn names_above<'a>(area: &Area<'a>, curves: &[Curve]) -> Result<Area<'a>, Box<dyn std::error::Error>> {
    let left = LEFT as i32;
    let (mut x, mut y) = (left, ROW / 2);
    for curve in curves {
        // The backend does not measure text; letters of this font are narrower.
        let width = SAMPLE + GAP + curve.name.chars().count() as i32 * FONT as i32 * 6 / 10;
        if x > left && x + width > (WIDTH - RIGHT) as i32 {
            (x, y) = (left, y + ROW);
        }
        let style = curve.color().stroke_width(LINE);
        match curve.dash() {
            None => area.draw(&PathElement::new(sample((x, y)), style))?,
            Some((dash, space)) => area.draw(&DashedPathElement::new(sample((x, y)), dash, space, style))?,
        }
        let beside = Pos::new(HPos::Left, VPos::Center);
        area.draw(&Text::new(curve.name.clone(), (x + SAMPLE + GAP / 2, y), font(INK).pos(beside)))?;
        x += width + GAP;
    }
    Ok(area.split_vertically(y + ROW / 2).1)
}

/// A piece of a line in a legend, from its left end.
fn sample(at: (i32, i32)) -> Vec<(i32, i32)> {
    vec![at, (at.0 + SAMPLE, at.1)]
}

/// A line with its entry in the legend.
fn draw_curve<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    curve: &Curve,
    points: &[(f64, f64)],
) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let style = curve.color().stroke_width(LINE);
    if let Some((dash, space)) = curve.dash() {
        chart
            .draw_series(DashedLineSeries::new(points.iter().copied(), dash, space, style))?
            .label(&curve.name)
            .legend(move |at| DashedPathElement::new(sample(at), dash, space, style));
    } else {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(&curve.name)
            .legend(move |at| PathElement::new(sample(at), style));
    }
    Ok(())
}

fn legend<'a, 'b: 'a, X, Y>(chart: &mut ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .legend_area_size(30 * UNITS)
        .margin(2 * UNITS)
        .label_font(font(INK))
        .background_style(TRANSPARENT)
        .border_style(TRANSPARENT)
        .draw()?;
    Ok(())
}

fn draw_bars<Y>(area: &Area<'_>, range: Y, x: &Axis<'_>, y: &Axis<'_>, bars: &[Bar], beside: &Beside) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = builder(area).build_cartesian_2d(x.from..x.to, range)?;
    mesh(&mut chart, x, y)?;
    let (gap, anchor) = ((x.to - x.from) * 0.002, Pos::new(HPos::Center, VPos::Bottom));
    let shown = || bars.iter().filter(|bar| bar.height > 0.0);
    let drawn = chart
        .draw_series(shown().map(|bar| {
            Rectangle::new([(bar.from + gap, y.from), (bar.to - gap, bar.height)], DATA.filled())
        }))?;
    if !beside.outlines.is_empty() {
        let high = 5 * UNITS as i32;
        drawn
            .label(&beside.name)
            .legend(move |(at, y)| Rectangle::new([(at, y - high), (at + SAMPLE, y + high)], DATA.filled()));
    }
    let label = |bar: &Bar| {
        let at = ((bar.from + bar.to) / 2.0, bar.height);
        Text::new(bar.label.clone(), at, font(INK).pos(anchor))
    };
    chart.draw_series(shown().filter(|bar| !bar.label.is_empty()).map(label))?;
    let top = Pos::new(HPos::Center, VPos::Top);
    let above = beside.above.iter();
    chart.draw_series(above.map(|(at, text)| Text::new(text.clone(), (*at, y.to), font(INK).pos(top))))?;
    if let Some((at, text)) = &beside.reference {
        let ends = [(*at, y.from), (*at, y.to)];
        let style = REFERENCE.stroke_width(LINE);
        chart.draw_series(DashedLineSeries::new(ends, 6 * UNITS, 4 * UNITS, style))?;
        let (side, shift) =
            if *at > (x.from + x.to) / 2.0 { (HPos::Right, -0.01) } else { (HPos::Left, 0.01) };
        let at = (at + (x.to - x.from) * shift, y.to);
        chart.draw_series([Text::new(text.clone(), at, font(REFERENCE).pos(Pos::new(side, VPos::Top)))])?;
    }
    if beside.outlines.is_empty() {
        return Ok(());
    }
    for outline in &beside.outlines {
        draw_curve(&mut chart, outline, &outline.points)?;
    }
    legend(&mut chart)
}
