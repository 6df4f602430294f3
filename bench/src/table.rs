//! The table: what it holds, and how it is written.

use crate::child::Used;
use std::{fmt::Write as _, time::Duration};

/// What was measured of one row: the product, and beside it the bare loop where there is one.
pub struct Row {
    pub name: String,
    /// Hosts, where the cost of one of them is of interest.
    pub hosts: Option<usize>,
    pub ours: Vec<Used>,
    pub bare: Vec<Used>,
}

/// The median of each of the three figures.
fn median(of: &[Used]) -> Option<Used> {
    let middle = of.len().checked_sub(1)? / 2;
    let mut cpu: Vec<Duration> = of.iter().map(|used| used.cpu).collect();
    let mut wall: Vec<Duration> = of.iter().map(|used| used.wall).collect();
    let mut peak: Vec<u64> = of.iter().map(|used| used.peak_kib).collect();
    cpu.sort_unstable();
    wall.sort_unstable();
    peak.sort_unstable();
    Some(Used { cpu: cpu[middle], wall: wall[middle], peak_kib: peak[middle] })
}

const HEAD: &str = "\
| what | CPU, s | bare, s | ratio | CPU a host, ms | wall, s | bare, s | memory, MB | bare, MB |
|---|---|---|---|---|---|---|---|---|
";

/// The table in Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    for row in rows {
        let Some(ours) = median(&row.ours) else { continue };
        let bare = median(&row.bare);
        let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
        let megabytes = |kib: u64| format!("{:.0}", kib as f64 * 1.024e-3);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            seconds(ours.cpu),
            or_dash(bare.map(|bare| seconds(bare.cpu))),
            or_dash(
                bare.map(|b| format!("**{:.2}**", ours.cpu.as_secs_f64() / b.cpu.as_secs_f64()))
            ),
            or_dash(row.hosts.map(|n| format!("{:.3}", ours.cpu.as_secs_f64() * 1e3 / n as f64))),
            seconds(ours.wall),
            or_dash(bare.map(|bare| seconds(bare.wall))),
            megabytes(ours.peak_kib),
            or_dash(bare.map(|bare| megabytes(bare.peak_kib))),
        );
    }
    text
}
