//! Which windows a time belongs to: TUMBLE, HOP and CUMULATE over microseconds, for any sign, offset and ratio.
//!
//! Windows are `[start, start + size)` with `start = offset + k · slide` for every whole `k`. A time is in all windows
//! with `start <= time < start + size`: `ceil(size / slide)` of them or one less; none if it lies in a gap (slide > size).
//!
//! CUMULATE has windows `[start, start + k · step)` for `k = 1 .. size / step`, with `start = offset + j · size`: a time
//! is in those of its `start` that end behind it.

use arrow::array::{Array, TimestampMicrosecondArray};

use crate::base::{Error, Result, sqlstate};

/// In how many windows HOP may put one row.
pub(super) const ROW_WINDOWS_MAX: i64 = 10_000;

/// A window function: TUMBLE is a HOP whose slide is its size, CUMULATE a TUMBLE in steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Windows {
    slide: i64,
    size: i64,
    /// In `0 .. slide`.
    offset: i64,
    /// CUMULATE: how much longer each window of a start is; it divides the size.
    step: Option<i64>,
}

/// Windows of a column of times.
pub(super) struct Assigned {
    /// Start of each (row, window), by row, then by start.
    pub starts: Vec<i64>,
    /// End (exclusive) of each (row, window).
    pub ends: Vec<i64>,
    /// The row of each (row, window); `None` when row `i` has exactly window `i`.
    pub rows: Option<Vec<u64>>,
    /// Rows whose windows do not fit into a timestamp.
    pub faults: Vec<usize>,
}

impl Windows {
    /// Windows of `size_us` every `slide_us` from `offset_us` on. Fails unless both are positive and a row has at most
    /// [`ROW_WINDOWS_MAX`] windows.
    pub fn new(slide_us: i64, size_us: i64, offset_us: i64) -> Result<Self> {
        if slide_us <= 0 || size_us <= 0 {
            return Err(Error::invalid("window size and slide must be positive")
                .with_detail(format!("The size is {size_us} µs and the slide {slide_us} µs."))
                .with_code(sqlstate::INVALID_PARAMETER_VALUE));
        }
        let windows = (size_us - 1) / slide_us + 1;
        if windows > ROW_WINDOWS_MAX {
            return Err(Error::limit(format!("a row would belong to {windows} windows, more than {ROW_WINDOWS_MAX}"))
                .with_hint("Choose a larger slide or a smaller size."));
        }
        Ok(Windows { slide: slide_us, size: size_us, offset: offset_us.rem_euclid(slide_us), step: None })
    }

    /// Windows of `step_us`, twice `step_us`, ... up to `size_us` from `offset_us + k · size_us` on. Fails unless the step
    /// divides the size, and a row has at most [`ROW_WINDOWS_MAX`] windows.
    pub fn cumulate(step_us: i64, size_us: i64, offset_us: i64) -> Result<Self> {
        // The windows in which a row can be are as many as with HOP.
        let hop = Windows::new(step_us, size_us, 0)?;
        if size_us % step_us != 0 {
            return Err(Error::invalid("the size of CUMULATE must be a multiple of its step")
                .with_detail(format!("The size is {size_us} µs and the step {step_us} µs."))
                .with_code(sqlstate::INVALID_PARAMETER_VALUE));
        }
        Ok(Windows { slide: size_us, offset: offset_us.rem_euclid(size_us), step: Some(step_us), ..hop })
    }

    /// In how many windows a row can be.
    pub fn per_row_max(&self) -> usize {
        // At least 1 and at most ROW_WINDOWS_MAX by `new`.
        ((self.size - 1) / self.step.unwrap_or(self.slide) + 1) as usize
    }

    /// The windows of every time. A NULL time belongs to none: such a row goes nowhere, as a batch query that joins
    /// rows with their windows leaves it out.
    pub fn assign(&self, times: &TimestampMicrosecondArray) -> Assigned {
        if self.step.is_none()
            && self.slide == self.size
            && times.null_count() == 0
            && let Some(assigned) = self.tumble(times.values())
        {
            return assigned;
        }
        let mut assigned = Assigned { starts: Vec::new(), ends: Vec::new(), rows: None, faults: Vec::new() };
        let mut rows = Vec::with_capacity(times.len());
        for row in 0..times.len() {
            if times.is_null(row) {
                continue;
            }
            let Some((first, last)) = self.span(times.value(row)) else {
                assigned.faults.push(row);
                continue;
            };
            if let Some(step) = self.step {
                // All of these fit: `span` checked the last one.
                let mut end = last + ((times.value(row) - last) / step + 1) * step;
                while end <= last + self.size {
                    assigned.starts.push(last);
                    assigned.ends.push(end);
                    rows.push(row as u64);
                    let Some(next) = end.checked_add(step) else { break };
                    end = next;
                }
                continue;
            }
            let mut start = first;
            while start <= last {
                assigned.starts.push(start);
                assigned.ends.push(start + self.size); // fits: `span` checked it for `last`
                rows.push(row as u64);
                let Some(next) = start.checked_add(self.slide) else { break };
                start = next;
            }
        }
        assigned.rows = Some(rows);
        assigned
    }

    /// TUMBLE without NULLs, one window per row. `None` when a window does not fit into a timestamp.
    fn tumble(&self, times: &[i64]) -> Option<Assigned> {
        let mut starts = Vec::with_capacity(times.len());
        let mut ends = Vec::with_capacity(times.len());
        // Neighbours mostly share their window; dividing anew costs ten times the comparison.
        let (mut start, mut end) = (0, 0);
        for &time in times {
            if time < start || time >= end {
                start = time.checked_sub(self.past_start(time))?;
                end = start.checked_add(self.size)?;
            }
            starts.push(start);
            ends.push(end);
        }
        Some(Assigned { starts, ends, rows: None, faults: Vec::new() })
    }

    /// How far `time` lies behind the newest window start that is not above it.
    fn past_start(&self, time: i64) -> i64 {
        let past = time.rem_euclid(self.slide) - self.offset;
        if past < 0 { past + self.slide } else { past }
    }

    /// The first and last start of the windows of `time`; first > last when it lies in a gap. `None` when one of the
    /// windows' bounds does not fit.
    fn span(&self, time: i64) -> Option<(i64, i64)> {
        let past = self.past_start(time);
        if past >= self.size {
            return Some((1, 0));
        }
        let last = time.checked_sub(past)?;
        last.checked_add(self.size)?;
        let earlier = (self.size - past - 1) / self.slide;
        let first = last.checked_sub(earlier.checked_mul(self.slide)?)?;
        Some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every window of `time` by the definition, in 128 bits.
    fn by_definition(windows: &Windows, time: i64) -> Vec<i128> {
        let (slide, size, offset) = (i128::from(windows.slide), i128::from(windows.size), i128::from(windows.offset));
        let time = i128::from(time);
        let from = (time - size - offset).div_euclid(slide) - 1;
        let upto = (time - offset).div_euclid(slide) + 1;
        (from..=upto).map(|k| offset + k * slide).filter(|&start| start <= time && time < start + size).collect()
    }

    #[test]
    fn windows_follow_their_definition() {
        for (slide, size, offset) in [(10, 10, 0), (10, 10, 3), (3, 10, -7), (10, 3, 4), (7, 7, i64::MIN), (1, 1, 5)] {
            let windows = Windows::new(slide, size, offset).unwrap();
            let times: Vec<i64> = (-40..40).collect();
            let assigned = windows.assign(&TimestampMicrosecondArray::from(times.clone()));
            let mut found = Vec::new();
            for (i, &start) in assigned.starts.iter().enumerate() {
                let row = assigned.rows.as_ref().map_or(i, |rows| rows[i] as usize);
                assert_eq!(assigned.ends[i], start + size);
                found.push((times[row], i128::from(start)));
            }
            let expected: Vec<_> = times
                .iter()
                .flat_map(|&time| by_definition(&windows, time).into_iter().map(move |s| (time, s)))
                .collect();
            assert_eq!(found, expected, "slide {slide} size {size} offset {offset}");
        }
    }

    #[test]
    fn ends_of_time_are_faults() {
        let windows = Windows::new(10, 30, 0).unwrap();
        let times = TimestampMicrosecondArray::from(vec![Some(i64::MIN), Some(0), None, Some(i64::MAX)]);
        let assigned = windows.assign(&times);
        assert_eq!(assigned.faults, [0, 3]);
        assert_eq!(assigned.rows, Some(vec![1, 1, 1]));
        assert_eq!(assigned.starts, [-20, -10, 0]);
        let tumble = Windows::new(7, 7, 0).unwrap().assign(&TimestampMicrosecondArray::from(vec![i64::MIN, 1]));
        assert_eq!((tumble.faults, tumble.starts), (vec![0], vec![0]));
    }

    #[test]
    fn cumulated_windows_grow_by_steps() {
        let windows = Windows::cumulate(5, 15, 1).unwrap();
        assert_eq!(windows.per_row_max(), 3);
        let times = TimestampMicrosecondArray::from(vec![Some(1), Some(6), None, Some(15), Some(-1), Some(i64::MAX)]);
        let assigned = windows.assign(&times);
        assert_eq!(assigned.rows, Some(vec![0, 0, 0, 1, 1, 3, 4]));
        assert_eq!(assigned.starts, [1, 1, 1, 1, 1, 1, -14]);
        assert_eq!(assigned.ends, [6, 11, 16, 11, 16, 16, 1]);
        assert_eq!(assigned.faults, [5]);
        assert!(Windows::cumulate(4, 15, 0).is_err() && Windows::cumulate(0, 15, 0).is_err());
    }

    #[test]
    fn hostile_windows_are_refused() {
        assert!(Windows::new(0, 1, 0).is_err());
        assert!(Windows::new(1, -1, 0).is_err());
        assert!(Windows::new(1, i64::MAX, 0).is_err());
        assert_eq!(Windows::new(i64::MAX, i64::MAX, -1).unwrap().per_row_max(), 1);
    }
}
