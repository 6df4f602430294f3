//! Charts as inline SVG. Rectangles stretch with the page; words stand beside them as HTML, so that they do not.

use super::write::Html;
use crate::{
    base::time::Timestamp,
    report::{
        build::millis,
        document::{BatchBar, Chart, CountBar, Load, Timeline},
        state::State,
    },
};

/// The width that every chart is drawn in; the page scales it.
const WIDTH: f64 = 1000.0;

/// No stretch of time is too short to be seen.
const BAR_WIDTH_MIN: f64 = 1.5;

/// Fills that are told apart without colours, shared by all charts of the page.
pub(super) const PATTERNS: &str = concat!(
    "<svg width=\"0\" height=\"0\" aria-hidden=\"true\" class=\"patterns\"><defs>",
    "<pattern id=\"hatch-dark\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" ",
    "patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" class=\"ground\"></rect>",
    "<rect width=\"2.4\" height=\"6\" class=\"line\"></rect></pattern>",
    "<pattern id=\"hatch-warn\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" ",
    "patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" class=\"warn\"></rect>",
    "<rect width=\"2\" height=\"6\" class=\"gap\"></rect></pattern>",
    "<pattern id=\"hatch-bad\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" ",
    "patternTransform=\"rotate(-45)\"><rect width=\"6\" height=\"6\" class=\"bad\"></rect>",
    "<rect width=\"2\" height=\"6\" class=\"gap\"></rect></pattern></defs></svg>\n",
);

pub(super) fn write(html: &mut Html, chart: &Chart) {
    match chart {
        Chart::Counts { label, counts } => counts_chart(html, label, counts),
        Chart::Batches { label, batches, legend } => batches_chart(html, label, batches, legend),
        Chart::Timeline(timeline) => timeline_chart(html, timeline),
        Chart::Load(load) => load_chart(html, load),
    }
    html.line();
}

fn key(html: &mut Html, class: &str, sign: char) {
    let class = format!("key {class}");
    html.leaf("span", &[("class", &class), ("aria-hidden", "true")], &sign.to_string());
}

/// A swatch of a chart's fill.
fn swatch(html: &mut Html, class: &str) {
    let attributes = [("class", "swatch"), ("viewBox", "0 0 14 14"), ("aria-hidden", "true")];
    html.element("svg", &attributes, |html| rect(html, class, [0.0, 0.0, 14.0, 14.0], ""));
}

/// What a state looks like in a chart, and its sign.
fn state_key(html: &mut Html, state: State) {
    swatch(html, &state_class(state));
    html.leaf("span", &[("class", "muted"), ("aria-hidden", "true")], &state.sign().to_string());
}

fn state_class(state: State) -> String {
    format!("{} s-{}", state.tone().as_str(), state.word())
}

fn svg(html: &mut Html, height: f64, label: &str, inner: impl FnOnce(&mut Html)) {
    let view = format!("0 0 {WIDTH} {height}");
    let attributes = [
        ("viewBox", view.as_str()),
        ("preserveAspectRatio", "none"),
        ("role", "img"),
        ("aria-label", label),
    ];
    html.element("svg", &attributes, inner);
}

/// A rectangle; its title is what a pointer, or a reader aloud, finds.
fn rect(html: &mut Html, class: &str, [x, y, width, height]: [f64; 4], title: &str) {
    let [x, y, width, height] = [x, y, width, height].map(|n| format!("{n:.1}"));
    let place = [
        ("class", class),
        ("x", x.as_str()),
        ("y", y.as_str()),
        ("width", width.as_str()),
        ("height", height.as_str()),
    ];
    html.element("rect", &place, |html| {
        if !title.is_empty() {
            html.leaf("title", &[], title);
        }
    });
}

fn stacked(html: &mut Html, label: &str, counts: &[(State, usize)]) {
    let total: usize = counts.iter().map(|(_, n)| n).sum();
    svg(html, 20.0, label, |html| {
        let mut x = 0.0;
        for (state, n) in counts {
            let width = WIDTH * *n as f64 / total.max(1) as f64;
            let class = state_class(*state);
            // A gap of a hair keeps neighbours of one colour apart.
            rect(
                html,
                &class,
                [x, 0.0, (width - 1.5).max(1.0), 20.0],
                &format!("{}: {n}", state.word()),
            );
            x += width;
        }
    });
}

fn counts_chart(html: &mut Html, label: &str, counts: &[CountBar]) {
    html.element("figure", &[("class", "counts")], |html| {
        let stack: Vec<(State, usize)> = counts.iter().map(|bar| (bar.state, bar.hosts)).collect();
        stacked(html, label, &stack);
        html.element("ul", &[("class", "legend")], |html| {
            for bar in counts {
                html.element("li", &[], |html| {
                    state_key(html, bar.state);
                    html.leaf("b", &[], &bar.number);
                    html.text(&bar.label);
                });
            }
        });
    });
}

fn batches_chart(html: &mut Html, label: &str, batches: &[BatchBar], legend: &[(State, String)]) {
    html.element("figure", &[("class", "rows")], |html| {
        for BatchBar { name, counts, amount } in batches {
            html.element("div", &[("class", "row")], |html| {
                html.leaf("span", &[("class", "name")], name);
                stacked(html, &format!("{label}: {name}"), counts);
                html.leaf("span", &[("class", "amount")], amount);
            });
        }
        html.element("ul", &[("class", "legend")], |html| {
            for (state, label) in legend {
                html.element("li", &[], |html| {
                    state_key(html, *state);
                    html.text(label);
                });
            }
        });
    });
}

/// Where a point in time stands, from 0 to the chart's width.
fn place(from: Timestamp, to: Timestamp, at: Timestamp) -> f64 {
    let whole = millis(from, to).max(1) as f64;
    (millis(from, at) as f64 / whole * WIDTH).min(WIDTH)
}

fn timeline_chart(html: &mut Html, timeline: &Timeline) {
    let Timeline { label, from, to, rows, ticks, legend } = timeline;
    html.element("figure", &[("class", "rows timeline")], |html| {
        segments_legend(html, legend);
        for row in rows {
            html.element("div", &[("class", "row")], |html| {
                html.element(
                    "span",
                    &[("class", "name"), ("title", row.state_label.as_str())],
                    |html| {
                        key(html, row.state.tone().as_str(), row.state.sign());
                        html.text(&row.host);
                    },
                );
                svg(html, 14.0, &format!("{label}: {}", row.host), |html| {
                    grid(html, *from, *to, ticks, 14.0);
                    for bar in &row.bars {
                        let x = place(*from, *to, bar.from);
                        let width = (place(*from, *to, bar.to) - x).max(BAR_WIDTH_MIN);
                        rect(html, &format!("k-{}", bar.kind), [x, 1.0, width, 12.0], &bar.title);
                    }
                });
                html.leaf("span", &[("class", "amount muted")], &row.length);
            });
        }
        axis(html, *from, *to, ticks);
    });
}

fn segments_legend(html: &mut Html, legend: &[(&'static str, String)]) {
    html.element("ul", &[("class", "legend")], |html| {
        for (kind, label) in legend {
            html.element("li", &[], |html| {
                swatch(html, &format!("k-{kind}"));
                html.text(label);
            });
        }
    });
}

fn grid(
    html: &mut Html,
    from: Timestamp,
    to: Timestamp,
    ticks: &[(Timestamp, String)],
    height: f64,
) {
    for (at, _) in ticks {
        rect(html, "grid", [place(from, to, *at), 0.0, 1.0, height], "");
    }
}

fn axis(html: &mut Html, from: Timestamp, to: Timestamp, ticks: &[(Timestamp, String)]) {
    html.element("div", &[("class", "row axis"), ("aria-hidden", "true")], |html| {
        html.leaf("span", &[("class", "name")], "");
        html.element("div", &[("class", "ticks")], |html| {
            for (at, label) in ticks {
                let left = format!("left:{:.2}%", place(from, to, *at) / WIDTH * 100.0);
                html.leaf("span", &[("style", &left)], label);
            }
        });
    });
}

fn load_chart(html: &mut Html, load: &Load) {
    let Load { label, from, to, slices, ticks, legend, highest } = load;
    let peak = slices.iter().map(|slice| slice.iter().sum::<usize>()).max().unwrap_or(0).max(1);
    let height = 160.0;
    html.element("figure", &[("class", "rows load")], |html| {
        segments_legend(html, legend);
        html.element("div", &[("class", "row")], |html| {
            html.leaf("span", &[("class", "name")], highest);
            svg(html, height, label, |html| {
                grid(html, *from, *to, ticks, height);
                let width = WIDTH / slices.len().max(1) as f64;
                for (i, slice) in slices.iter().enumerate() {
                    let mut y = height;
                    for (n, (kind, label)) in slice.iter().zip(legend).filter(|(n, _)| **n > 0) {
                        let tall = *n as f64 / peak as f64 * height;
                        y -= tall;
                        let title = format!("{label}: {n}");
                        rect(
                            html,
                            &format!("k-{kind}"),
                            [i as f64 * width, y, width, tall],
                            &title,
                        );
                    }
                }
            });
        });
        axis(html, *from, *to, ticks);
    });
}
