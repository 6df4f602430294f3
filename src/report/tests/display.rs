//! The live display: its frames, its lines, and that it outlives its output.

use super::{
    stories,
    story::{self, Story},
};
use crate::{
    report::{
        live::{Display, Frame, Mode, Size, Tracked},
        paint::Paint,
        status::{Standing, status, status_json},
        words::Words,
    },
    run::RunState,
};
use serde_json::json;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

/// A place to write to that can be read afterwards, or that is gone.
#[derive(Clone, Default)]
struct Sink {
    text: Arc<Mutex<Vec<u8>>>,
    closed: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.text.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plays a story to a display, with a tick after every record.
fn play(story: &Story, mode: Mode, sink: Sink) -> String {
    let text = Arc::clone(&sink.text);
    let mut state = RunState::new(&story.plan);
    let mut display = Display::with_output(mode, false, &story.plan, &state, Box::new(sink));
    for record in story.records() {
        state.apply(&story.plan, &record).unwrap();
        display.on_record(&record, &state, &story.plan);
        display.tick(record.at, &state, &story.plan);
    }
    display.finish();
    let text = text.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

/// The frame at the end of a story.
fn frame(story: &Story, size: Size) -> Vec<String> {
    let mut state = RunState::new(&story.plan);
    let mut track = Tracked::new(&story.plan, &state);
    for record in story.records() {
        state.apply(&story.plan, &record).unwrap();
        track.take(&record, &state);
    }
    let now = story.now();
    track.refresh(now, &state, &story.plan);
    let (words, paint) = (Words::english(), Paint { color: false });
    Frame { words, paint, plan: &story.plan, state: &state, now }.lines(&track, size)
}

#[test]
fn plain_lines() {
    for (name, story) in [
        ("some_failed", stories::some_failed()),
        ("over_budget", stories::over_budget()),
        ("needs_hands", stories::needs_hands()),
        ("hostile", stories::hostile()),
    ] {
        insta::assert_snapshot!(
            format!("plain_{name}"),
            play(&story, Mode::Plain, Sink::default())
        );
    }
}

#[test]
fn no_display_passes_a_control_sequence_on() {
    for mode in [Mode::Plain, Mode::Json] {
        let text = play(&stories::hostile(), mode, Sink::default());
        let steers = |c: &char| c.is_control() && *c != '\n';
        assert_eq!(text.chars().find(steers), None, "{mode:?}");
    }
}

#[test]
fn json_is_the_records() {
    let story = stories::some_failed();
    let text = play(&story, Mode::Json, Sink::default());
    let read: Vec<crate::journal::Record> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, story.records());
}

#[test]
fn an_output_that_is_gone_is_left_alone() {
    for mode in [Mode::Plain, Mode::Json] {
        let sink = Sink { closed: true, ..Sink::default() };
        assert_eq!(play(&stories::some_failed(), mode, sink), "");
    }
}

#[test]
fn frames() {
    let wide = Size { columns: 120, rows: 40 };
    for (name, story) in [
        ("still_running", stories::still_running()),
        ("over_budget", stories::over_budget()),
        ("all_migrated", stories::all_migrated()),
        ("two_hops", stories::two_hops()),
    ] {
        insta::assert_snapshot!(format!("frame_{name}"), frame(&story, wide).join("\n"));
    }
    let narrow = Size { columns: 40, rows: 10 };
    insta::assert_snapshot!("frame_narrow", frame(&stories::still_running(), narrow).join("\n"));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for columns in [1, 5, 20, 59, 60, 80, 200] {
        for (name, story) in stories::all() {
            for line in frame(&story, Size { columns, rows: 24 }) {
                let width = console::measure_text_width(&line);
                assert!(width < columns.max(2), "{name}: {width} of {columns}: {line}");
            }
        }
    }
}

#[test]
fn nothing_is_promised_before_a_host_is_done() {
    let mut story = Story::new(story::reference_plan());
    story.host(0, 0).start(0, 1);
    let lines = frame(&story, Size { columns: 120, rows: 40 });
    assert!(!lines[0].contains(" left") && !lines[0].contains('—'), "{}", lines[0]);
}

/// Who rests is told apart from who has not begun: in the frame, in `status` and in its JSON.
#[test]
fn hosts_at_rest_are_shown_as_such() {
    let story = stories::resting();
    let lines = frame(&story, Size { columns: 100, rows: 24 });
    let rests = lines.iter().find(|line| line.contains("resting"));
    assert_eq!(
        rests.map(|line| line.trim()),
        Some("‖ 2 hosts resting between two hops, until the run is resumed: a-[01-02]"),
        "{lines:?}"
    );
    let state = story.state();
    let waiting_on = crate::run::decide(&story.plan, &state, story.now()).waiting_on;
    let run = story::run_id();
    let standing = Standing {
        plan: &story.plan,
        digest: story::digest(),
        run: &run,
        state: &state,
        waiting_on: &waiting_on,
        abandoned: false,
        now: story.now(),
    };
    let text = status(&standing, false);
    let row = |host: &str| text.lines().find(|line| line.contains(host)).unwrap().to_owned();
    assert!(row("a-01").ends_with("resting between two hops, until the run is resumed"), "{text}");
    assert!(row("a-02").ends_with("resting until a slot is free"), "{text}");
    assert!(row("a-03").ends_with("held by alice"), "{text}");
    let json = status_json(&standing);
    let host = |host: &str| {
        let host = &json["hosts"][host];
        (host["state"].clone(), host["resting"].clone(), host["waits_for"]["kind"].clone())
    };
    let (pending, held, yes) = (json!("pending"), json!("held"), json!(true));
    assert_eq!(host("a-01"), (pending.clone(), yes.clone(), json!("resume")));
    assert_eq!(host("a-02"), (pending, yes.clone(), json!("slot")));
    assert_eq!(host("a-03"), (held, yes, json!(null)));
}
