//! Charts as SVG.

use plotters::prelude::*;

/// Values over values, by name.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
    /// Points of a front: marked, whatever line joins them.
    pub marked: Vec<bool>,
}

/// What a chart shows.
#[derive(Clone, Copy, Debug)]
pub struct Axes<'a> {
    /// Above it.
    pub title: &'a str,
    /// Along x.
    pub x: &'a str,
    /// Along y.
    pub y: &'a str,
    /// Whether x is logarithmic; then all of it must be greater than 0.
    pub log_x: bool,
}

const SIZE: (u32, u32) = (820, 460);

/// Draws lines through points, a colour for each series, marked points filled.
pub fn draw(axes: Axes<'_>, series: &[Series]) -> String {
    let mut text = String::new();
    // Writing to memory cannot fail; an axis without extent is avoided by `range`.
    let _ = draw_into(&mut text, axes, series);
    text
}

fn draw_into(text: &mut String, axes: Axes<'_>, series: &[Series]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let all = || series.iter().flat_map(|one| &one.points).copied();
    let (x, y) = (range(all().map(|p| p.0), axes.log_x), range(all().map(|p| p.1), false));
    let mut builder = ChartBuilder::on(&root);
    builder
        .caption(axes.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(56);
    // The two kinds of axes are two types.
    macro_rules! plot {
        ($x:expr) => {{
            let mut chart = builder.build_cartesian_2d($x, y[0]..y[1])?;
            chart.configure_mesh().x_desc(axes.x).y_desc(axes.y).draw()?;
            for (index, one) in series.iter().enumerate() {
                let color = HSLColor(index as f64 / series.len() as f64, 0.7, 0.4);
                chart
                    .draw_series(LineSeries::new(one.points.iter().copied(), &color))?
                    .label(&one.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
                let marks = one
                    .points
                    .iter()
                    .zip(one.marked.iter().chain(std::iter::repeat(&false)));
                chart.draw_series(marks.map(|(&at, &marked)| {
                    let style = if marked { color.filled() } else { color.stroke_width(1) };
                    Circle::new(at, if marked { 5 } else { 3 }, style)
                }))?;
            }
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .position(SeriesLabelPosition::LowerRight)
                .draw()?;
        }};
    }
    if axes.log_x {
        plot!((x[0]..x[1]).log_scale());
    } else {
        plot!(x[0]..x[1]);
    }
    root.present()?;
    Ok(())
}

/// Least and greatest value, and a margin.
fn range(values: impl Iterator<Item = f64>, log: bool) -> [f64; 2] {
    let [least, most] = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| [a.min(v), b.max(v)]);
    match (least.is_finite(), log) {
        (false, _) => [1.0, 2.0],
        (true, true) => [least / 1.1, most * 1.1],
        (true, false) => {
            let margin = (0.05 * (most - least)).max(1e-3);
            [least - margin, most + margin]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_named_and_every_point_drawn() {
        let series = ["first", "second & third"].map(|name| Series {
            name: name.into(),
            points: vec![(1.0, 0.5), (10.0, 0.75)],
            marked: vec![true, false],
        });
        for log_x in [false, true] {
            let axes = Axes {
                title: "t",
                x: "bytes",
                y: "accuracy",
                log_x,
            };
            let svg = draw(axes, &series);
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(svg.contains("second &amp; third") && svg.contains("bytes"));
            assert_eq!(svg.matches("<circle").count(), 4);
        }
    }

    #[test]
    fn nothing_to_draw_is_drawn() {
        let axes = Axes {
            title: "",
            x: "",
            y: "",
            log_x: true,
        };
        assert!(draw(axes, &[]).contains("</svg>"));
    }
}
