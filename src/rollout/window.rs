//! Reading windows.

use crate::base::{
    fault::Refusal,
    shape::{Collector, Node},
    window::{Clock, Day, Days, Part, Recurring, When, Window, Windows, Zone, parse_moment},
};

/// A window, or a list of them. `None` for an empty list, and where a fault has been reported.
pub(super) fn windows(node: &Node, out: &mut Collector<'_>) -> Option<Windows> {
    let read = node.one_or_many().iter().filter_map(|table| window(table, out));
    Windows::new(read.collect())
}

fn window(table: &Node, out: &mut Collector<'_>) -> Option<Window> {
    let zone: Zone = table.get("zone")?.parse(str::parse)?;
    let (from, to) = (table.get("from")?, table.get("to")?);
    let is_dated = |node: &Node| node.text().map(|text| text.contains('-'));
    let when = match (is_dated(from)?, is_dated(to)?) {
        (true, true) => once(table, from, to, out)?,
        (false, false) => When::Again(again(table, from, to, out)?),
        (_, _) => {
            let refusal =
                Refusal::new("`from` and `to` are of one kind: both with a date, or both without")
                    .hint("with dates it opens once, without them again and again");
            out.refuse(to, refusal);
            return None;
        }
    };
    let window = Window { when, zone };
    if !window.ever_opens() {
        let refusal = match window.when {
            When::Once { .. } => Refusal::new(format!(
                "this window never opens: the clocks of {} leave these times out",
                window.zone
            )),
            When::Again(_) => {
                Refusal::new("this window never opens: no day is left that shows its times")
            }
        };
        out.refuse(table, refusal);
        return None;
    }
    Some(window)
}

fn once(table: &Node, from: &Node, to: &Node, out: &mut Collector<'_>) -> Option<When> {
    for key in ["days", "dates", "except"] {
        if let Some(entry) = table.entry(key) {
            let refusal =
                Refusal::new(format!("a window with dates opens once: it has no `{key}`"))
                    .hint("times without a date, such as from = \"01:00\", open again and again");
            out.refuse_key(entry, refusal);
        }
    }
    let (opens, closes) = (from.parse(parse_moment)?, to.parse(parse_moment)?);
    if closes <= opens {
        out.refuse(to, Refusal::new("this window closes before it opens"));
        return None;
    }
    Some(When::Once { from: opens, to: closes })
}

fn again(table: &Node, from: &Node, to: &Node, out: &mut Collector<'_>) -> Option<Recurring> {
    let (opens, closes): (Clock, Clock) = (from.parse(str::parse)?, to.parse(str::parse)?);
    let hint = "a whole day is from = \"00:00\", to = \"24:00\"";
    if opens == Clock::MIDNIGHT {
        out.refuse(from, Refusal::new("a day does not begin at 24:00").hint(hint));
        return None;
    }
    if opens == closes {
        out.refuse(to, Refusal::new("this window closes as it opens").hint(hint));
        return None;
    }
    let items = |key: &str| table.get(key).map_or(&[][..], Node::items).iter();
    Some(Recurring {
        from: opens,
        to: closes,
        days: items("days").filter_map(|day| Day::parse(day.text()?)).collect(),
        dates: items("dates").filter_map(|dates| dates.parse(str::parse::<Days>)).collect(),
        except: items("except").filter_map(|part| part.parse(str::parse::<Part>)).collect(),
    })
}
