//! Rows as psql prints them: aligned columns, a header, and how many there were.

use bytes::BytesMut;

use crate::types::Schema;
use crate::wire::Column;

/// Rows that are looked at before the widths are fixed.
const WIDTH_ROWS: usize = 2_000;

/// A table under construction. Widths follow the rows known when it is first printed; later rows keep to them as far
/// as they fit.
pub struct Table {
    schema: Schema,
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
    rows: u64,
}

fn width(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

impl Table {
    /// A table without rows.
    pub fn new(schema: Schema) -> Self {
        Table { schema, waiting: Vec::new(), widths: None, rows: 0 }
    }

    /// Adds `row` of `columns`; true when it is time to print.
    pub fn add(&mut self, columns: &[Column<'_>], row: usize) -> bool {
        let mut value = BytesMut::new();
        let text = columns.iter().map(|column| {
            value.clear();
            column.write_text(row, &mut value);
            String::from_utf8_lossy(&value).into_owned()
        });
        self.waiting.push(text.collect());
        self.rows += 1;
        self.waiting.len() >= WIDTH_ROWS
    }

    /// Whether rows wait to be printed.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Appends what is not printed yet; the header before the first row.
    pub fn print(&mut self, out: &mut String) {
        if self.widths.is_none() {
            let names = self.schema.columns.iter().map(|column| width(&column.name));
            let mut widths: Vec<usize> = names.collect();
            for row in &self.waiting {
                for (known, value) in widths.iter_mut().zip(row) {
                    *known = (*known).max(width(value));
                }
            }
            self.header(&widths, out);
            self.widths = Some(widths);
        }
        let widths = self.widths.clone().unwrap_or_default();
        for row in std::mem::take(&mut self.waiting) {
            self.row(&row, &widths, out);
        }
    }

    /// Appends the rest, and how many rows there were.
    pub fn finish(&mut self, out: &mut String) {
        self.print(out);
        let plural = if self.rows == 1 { "" } else { "s" };
        out.push_str(&format!("({} row{plural})\n\n", self.rows));
    }

    fn header(&self, widths: &[usize], out: &mut String) {
        let names = self.schema.columns.iter().zip(widths);
        let cells: Vec<String> = names.map(|(column, width)| centred(&column.name, *width)).collect();
        out.push_str(cells.join("|").trim_end_matches('\n'));
        out.push('\n');
        let lines: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        out.push_str(&lines.join("+"));
        out.push('\n');
    }

    fn row(&self, row: &[String], widths: &[usize], out: &mut String) {
        let last = row.len().saturating_sub(1);
        let cells = row.iter().zip(widths).zip(&self.schema.columns).enumerate();
        // As psql: text is padded on its right, but not in the last column.
        let cells = cells.map(|(place, ((value, width), column))| match column.ty.is_numeric() {
            true => format!(" {}{value}", blanks(value, *width)),
            false if place == last => format!(" {value}"),
            false => format!(" {value}{}", blanks(value, *width)),
        });
        out.push_str(&cells.collect::<Vec<_>>().join(" |"));
        out.push('\n');
    }
}

/// What `text` lacks of `width`. (The standard formatter pads to 65,535 at most, and cells may be wider.)
fn blanks(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.chars().count()))
}

fn centred(name: &str, width: usize) -> String {
    let blanks = blanks(name, width);
    let (left, right) = blanks.split_at(blanks.len() / 2);
    format!(" {left}{name}{right} ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::types::SqlType;

    #[test]
    fn tables_look_as_in_psql() {
        let columns =
            vec![crate::types::Column::new("id", SqlType::BigInt), crate::types::Column::new("name", SqlType::Varchar)];
        let mut table = Table::new(Schema::new(columns));
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(-1000)]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["ada", "bob", "x"]));
        let arrays = [Column::new(&ids, &SqlType::BigInt).unwrap(), Column::new(&names, &SqlType::Varchar).unwrap()];
        for row in 0..3 {
            assert!(!table.add(&arrays, row));
        }
        let mut out = String::new();
        table.finish(&mut out);
        assert_eq!(out, "  id   | name \n-------+------\n     1 | ada\n       | bob\n -1000 | x\n(3 rows)\n\n");
        let mut out = String::new();
        Table::new(Schema::default()).finish(&mut out);
        assert_eq!(out, "\n\n(0 rows)\n\n");
    }
}
