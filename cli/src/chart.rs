//! The stacked wait decomposition as SVG: one bar per task and policy, off beside on.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// One bar: a label and its parts, in nanoseconds, in the order of `PARTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    /// Whose waits.
    pub(crate) task: String,
    /// Under which policy.
    pub(crate) policy: String,
    /// Parts by name.
    pub(crate) parts: Vec<(&'static str, u64)>,
}

/// Colours that stay apart in print and for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 114, 178),
    RGBColor(204, 121, 167),
    RGBColor(240, 228, 66),
    RGBColor(120, 120, 120),
    RGBColor(200, 200, 200),
];

const WIDTH: u32 = 960;
const ROW: u32 = 26;
const TOP: u32 = 64;
const LEFT: i32 = 190;
const RIGHT: i32 = 110;

/// Draws bars of total wait time; the caller writes the text to a file.
pub(crate) fn waits(title: &str, bars: &[Bar]) -> Result<String> {
    let legend_rows = 3;
    let rows = u32::try_from(bars.len()).unwrap_or(u32::MAX).min(400);
    let height = TOP + rows * ROW + legend_rows * 22 + 40;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        draw(&root, title, bars, rows).map_err(|e| anyhow!("the chart could not be drawn: {e}"))?;
    }
    Ok(svg)
}

type Area<'s> = DrawingArea<SVGBackend<'s>, plotters::coord::Shift>;

fn draw(
    root: &Area<'_>,
    title: &str,
    bars: &[Bar],
    rows: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&WHITE)?;
    let text = ("sans-serif", 14).into_font().color(&BLACK);
    let right = text.clone().pos(Pos::new(HPos::Right, VPos::Center));
    let left = text.clone().pos(Pos::new(HPos::Left, VPos::Center));
    root.draw(&Text::new(
        title.to_owned(),
        (16, 18),
        ("sans-serif", 18).into_font().color(&BLACK),
    ))?;
    let longest = bars.iter().map(total).max().unwrap_or(0).max(1);
    let span = i32::try_from(WIDTH)? - LEFT - RIGHT;
    for (row, bar) in bars.iter().take(rows as usize).enumerate() {
        let y = i32::try_from(TOP + u32::try_from(row)? * ROW)?;
        let label = format!("{}  {}", bar.task, bar.policy);
        root.draw(&Text::new(label, (LEFT - 8, y + 10), right.clone()))?;
        let mut done = 0;
        for (part, (_, ns)) in bar.parts.iter().enumerate() {
            let from = LEFT + scaled(done, longest, span);
            done += ns;
            let to = LEFT + scaled(done, longest, span);
            let colour = COLOURS[part % COLOURS.len()];
            root.draw(&Rectangle::new([(from, y), (to, y + 20)], colour.filled()))?;
        }
        let end = LEFT + scaled(done, longest, span);
        root.draw(&Text::new(milliseconds(done), (end + 6, y + 10), left.clone()))?;
    }
    legend(root, bars, i32::try_from(TOP + rows * ROW + 18)?)
}

fn legend(root: &Area<'_>, bars: &[Bar], top: i32) -> Result<(), Box<dyn std::error::Error>> {
    let style =
        ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    let Some(first) = bars.first() else { return Ok(()) };
    for (part, (name, _)) in first.parts.iter().enumerate() {
        let column = i32::try_from(part % 3)?;
        let (x, y) = (24 + column * 310, top + i32::try_from(part / 3)? * 22);
        let colour = COLOURS[part % COLOURS.len()];
        root.draw(&Rectangle::new([(x, y), (x + 14, y + 14)], colour.filled()))?;
        root.draw(&Text::new(name.replace('_', " "), (x + 20, y + 7), style.clone()))?;
    }
    root.present()?;
    Ok(())
}

fn total(bar: &Bar) -> u64 {
    bar.parts.iter().map(|(_, ns)| ns).sum()
}

/// `value` of `longest` on a line of `span` pixels.
fn scaled(value: u64, longest: u64, span: i32) -> i32 {
    let pixels = u128::from(value) * u128::from(span.unsigned_abs()) / u128::from(longest);
    i32::try_from(pixels).unwrap_or(span)
}

fn milliseconds(ns: u64) -> String {
    format!("{}.{:02} ms", ns / 1_000_000, ns % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(policy: &str, parts: [u64; 2]) -> Bar {
        let parts = ["owner_running", "inversion"].into_iter().zip(parts).collect();
        Bar { task: "high".to_owned(), policy: policy.to_owned(), parts }
    }

    #[test]
    fn bars_share_one_scale_and_carry_their_totals() {
        let bars = [bar("none", [1_000_000, 9_000_000]), bar("pe-7.3", [1_000_000, 0])];
        let svg = waits("waits", &bars).expect("drawn");
        assert!(svg.contains("10.00 ms") && svg.contains("1.00 ms"), "{svg}");
        // 660 pixels for the longest bar: a tenth of it is 66.
        assert!(svg.contains(r#"width="66""#) && svg.contains(r#"width="594""#), "{svg}");
    }

    #[test]
    fn names_from_the_trace_cannot_leave_the_text() {
        let mut bad = bar("none", [1, 1]);
        bad.task = "</text><script>".to_owned();
        let svg = waits("waits", &[bad]).expect("drawn");
        assert!(!svg.contains("<script>"), "{svg}");
    }
}
