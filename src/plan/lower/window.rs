//! `WindowAssign`: TUMBLE, HOP and CUMULATE as a step, SESSION as an operator; over a source's event time the rows bring their split's watermark along.

use super::Lowering;
use crate::base::{Error, Result};
use crate::dataflow::WATERMARK_COLUMN;
use crate::functions::Expr;
use crate::operators::Step;
use crate::plan::build::Stream;
use crate::plan::window::{WINDOW_END, WINDOW_START, Window, WindowAssign};

impl Lowering {
    pub(super) fn window(&mut self, assign: &WindowAssign) -> Result<Stream> {
        self.carried += 1;
        let lowered = self.lower(&assign.input);
        self.carried -= 1;
        let mut stream = lowered?;
        let place = |column| {
            let place = assign.input.schema().maybe_index_of_column(column);
            place.ok_or_else(|| Error::internal(format!("window over {column}, which its input has not")))
        };
        let time = place(&assign.time)?;
        if let Window::Session { gap_us } = assign.window {
            let keys = assign.keys.iter().map(place).collect::<Result<_>>()?;
            return self.session(stream, time, keys, gap_us);
        }
        let over_event_time = stream.event_time == Some(time);
        let judged = over_event_time && self.builder.carry_watermark(&mut stream)?;
        if !judged {
            stream.drop_hidden()?;
        }
        let sealed_at = stream.windows.get(&time).copied().filter(|_| stream.sealed);
        let before = stream.schema.clone();
        stream.push(match assign.window {
            Window::Tumble { size_us, offset_us } => Step::Tumble { time, size_us, offset_us },
            Window::Hop { slide_us, size_us, offset_us } => Step::Hop { time, slide_us, size_us, offset_us },
            Window::Cumulate { step_us, size_us, offset_us } => Step::Cumulate { time, step_us, size_us, offset_us },
            Window::Session { .. } => return Err(Error::internal("SESSION is no step of a chain")),
        })?;
        let width = before.columns.len() - usize::from(stream.hidden);
        stream.unique = None;
        if stream.hidden {
            // The hidden column stays the last one.
            let mut columns: Vec<(String, Expr)> =
                (0..width).map(|i| (before.columns[i].name.clone(), Expr::Column(i))).collect();
            columns.push((WINDOW_START.to_string(), Expr::Column(width + 1)));
            columns.push((WINDOW_END.to_string(), Expr::Column(width + 2)));
            columns.push((WATERMARK_COLUMN.to_string(), Expr::Column(width)));
            stream.push(Step::Project(columns))?;
        }
        if judged {
            stream.windows = [(width + 1, 0)].into();
            stream.windows.extend(assign.window.size_us().map(|size_us| (width, size_us)));
        } else if let Some(shift) = sealed_at {
            // A window changes as long as rows of its last microsecond may.
            let end = shift.saturating_sub(1);
            stream.windows.extend(assign.window.size_us().map(|size_us| (width, size_us.saturating_add(end))));
            stream.windows.insert(width + 1, end);
        }
        Ok(stream)
    }
}
