//! Operator scripts: deltas as text, and what comes out. Files `*.script` lie beside the operator they test.
//!
//! A file is blocks of commands, a line `---`, the output and an empty line. `MILLSTREAM_BLESS=1` writes what came out
//! into the files; a reviewer reads it. Every script runs thrice: plainly; over a state tier that misses every first
//! read, on three subtasks; and with a restart on another number of subtasks after every epoch. All must agree.
//!
//! | command | what |
//! |---|---|
//! | `spec NAME` | starts the operator of that name; prints its detail and what bounds it |
//! | `in` or `left` (port 0), `right` (port 1), `inN`: `+1 (1, 'a') -1 (2, NULL)` | one batch of the open epoch |
//! | `clock '2026-01-01T00:00:00'` | the clock reading of the open epoch and those after it |
//! | `end [watermark]` | ends the epoch, with the same watermark on all ports; prints deltas, `late` and `fault` ones marked |
//! | `restart [n]` | cuts the state, drops the operator and restores it on n subtasks (1) |
//! | `state` | prints how many rows each state table has |

use std::fmt::Write;
use std::path::Path;

use super::values::split_deltas;
use super::{Bench, batch_of_text};
use crate::operators::{EpochEnd, OperatorSpec};
use crate::state::Tier;
use crate::types::{DeltaBatch, Epoch, Schema, Watermark};

/// The specs that scripts name, with the schema of each input port.
pub(in crate::operators) type Specs<'a> = &'a dyn Fn(&str) -> Option<(OperatorSpec, Vec<Schema>)>;

/// How a script is run.
struct Mode {
    tier: Tier,
    workers: usize,
    restarts: bool,
}

/// Runs every `*.script` of `src/operators/{folder}`.
pub(in crate::operators) fn run_scripts(folder: &str, specs: Specs<'_>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operators").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "script"));
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", folder.display());
    for path in paths {
        run_script(&path, specs);
    }
}

fn run_script(path: &Path, specs: Specs<'_>) {
    let text = std::fs::read_to_string(path).unwrap();
    let plain = play(&text, specs, &Mode { tier: Tier::Resident, workers: 1, restarts: false });
    let strict = play(&text, specs, &Mode { tier: Tier::Strict, workers: 3, restarts: false });
    same(path, "over a tier that always misses, on 3 subtasks", &plain, &strict);
    let restarted = play(&text, specs, &Mode { tier: Tier::Resident, workers: 2, restarts: true });
    same(path, "with a restart after every epoch", &plain, &restarted);
    if std::env::var_os("MILLSTREAM_BLESS").is_some() {
        std::fs::write(path, plain).unwrap();
    } else {
        same(path, "as reviewed (MILLSTREAM_BLESS=1 writes what came out)", &text, &plain);
    }
}

fn same(path: &Path, what: &str, expected: &str, found: &str) {
    if found != expected {
        panic!("{} {what}:\n{found}\nexpected:\n{expected}", path.display());
    }
}

/// The text with its outputs replaced by what comes out.
fn play(text: &str, specs: Specs<'_>, mode: &Mode) -> String {
    let mut player = Player { specs, mode, open: None, spec: None, epoch: 1, clock_us: 0 };
    let (mut result, mut output, mut in_output) = (String::new(), String::new(), false);
    for line in text.lines().chain([""]) {
        if in_output {
            in_output = !line.is_empty();
            if !in_output {
                result.push('\n');
            }
            continue;
        }
        if line == "---" {
            writeln!(result, "---").unwrap();
            result.push_str(&output);
            output.clear();
            in_output = true;
            continue;
        }
        result.push_str(line);
        result.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            player.command(line, &mut output);
        }
    }
    assert!(output.is_empty(), "output after the last ---: {output}");
    format!("{}\n", result.trim_end())
}

struct Player<'a> {
    specs: Specs<'a>,
    mode: &'a Mode,
    open: Option<(Bench, Vec<Schema>)>,
    spec: Option<OperatorSpec>,
    epoch: u64,
    clock_us: i64,
}

impl Player<'_> {
    fn command(&mut self, line: &str, output: &mut String) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.split(" #").next().unwrap_or("").trim();
        if word == "spec" {
            let (spec, inputs) = (self.specs)(rest).unwrap_or_else(|| panic!("no spec {rest:?}"));
            writeln!(output, "{}: {}\nbounded by: {}", spec.name(), spec.detail(), spec.bounded_by()).unwrap();
            self.open = Some((Bench::new(&spec, self.mode.tier, self.mode.workers), inputs));
            self.spec = Some(spec);
            return;
        }
        let (bench, inputs) = self.open.as_mut().expect("a script begins with spec");
        match word {
            "end" => {
                let watermark = watermark(rest);
                let watermarks = vec![watermark; inputs.len()];
                let end = EpochEnd { epoch: Epoch(self.epoch), clock_us: self.clock_us, watermarks };
                for (port, zset) in bench.end(&end).iter().enumerate() {
                    let mark = match (port, &self.spec) {
                        (1, Some(OperatorSpec::Keep(_))) => "count ",
                        _ => ["", "late ", "fault "][port],
                    };
                    zset.lines().iter().for_each(|line| writeln!(output, "{mark}{line}").unwrap());
                }
                bench.emitted.clear();
                self.epoch += 1;
                if self.mode.restarts {
                    bench.restart(1 + self.epoch as usize % 3);
                }
            }
            "clock" => self.clock_us = watermark(rest).0,
            "restart" => bench.restart(rest.parse().unwrap_or(1)),
            "state" => {
                bench.rows().iter().for_each(|(name, rows)| writeln!(output, "{name}: {rows}").unwrap());
            }
            word => {
                let port = match word.trim_end_matches(':') {
                    "in" | "left" => 0,
                    "right" => 1,
                    other => other.strip_prefix("in").and_then(|n| n.parse().ok()).expect("a command or port"),
                };
                let deltas = split_deltas(rest);
                let rows: Vec<&str> = deltas.iter().map(|(_, row)| *row).collect();
                let weights = deltas.iter().map(|(weight, _)| *weight).collect();
                let batch = DeltaBatch::new(batch_of_text(&inputs[port], &rows), weights).unwrap();
                bench.delta(port, &batch);
            }
        }
    }
}

fn watermark(text: &str) -> Watermark {
    match text {
        "" => Watermark::NONE,
        "done" => Watermark::END,
        text => {
            let naive: chrono::NaiveDateTime =
                text.trim_matches('\'').parse().expect("a time such as 2026-01-01T00:00:00");
            Watermark(naive.and_utc().timestamp_micros())
        }
    }
}
