//! to_char of numbers, by templates of `9 0 . , D G S MI PL PR FM` and quoted text.

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::fault::Reason;

use Kind::{Big, Double, Numeric, Text};
const TEXT: Returns = Returns::Type(Kind::Text);

pub(super) const FUNCTIONS: &[Function] = &[
    function("to_char", &[Big, Text], TEXT, Run::Text(|row, out| number(&row.int(0).to_string(), row.text(1), out))),
    function("to_char", &[Numeric, Text], TEXT, Run::Text(numeric)),
    function(
        "to_char",
        &[Double, Text],
        TEXT,
        Run::Text(|row, out| number(&format!("{}", row.double(0)), row.text(1), out)),
    ),
];

fn numeric(row: &Row<'_>, out: &mut String) -> Made<()> {
    let (digits, scale) = row.decimal(0);
    let mut text = String::new();
    super::text::written(crate::functions::text::write_decimal(digits, scale, &mut text))?;
    number(&text, row.text(1), out)
}

fn places(part: &str) -> usize {
    part.chars().filter(|c| matches!(c, '9' | '0')).count()
}

/// A number under way.
#[derive(Default)]
struct Shown {
    /// Quoted text before the first digit.
    prefix: String,
    digits: String,
    sign_first: bool,
    sign_last: bool,
    minus_last: bool,
    brackets: bool,
    plus: bool,
}

impl Shown {
    /// Takes a sign of the template; false when it is none.
    fn take_sign(&mut self, c: char, next: Option<char>, begun: bool) -> bool {
        match (c, next) {
            ('S', _) if begun => self.sign_last = true,
            ('S', _) => self.sign_first = true,
            ('M', Some('I')) if begun => self.minus_last = true,
            ('M', Some('I')) => self.sign_first = true,
            ('P', Some('R')) => self.brackets = true,
            ('P', Some('L')) => self.plus = true,
            _ => return false,
        }
        true
    }

    /// The digits before the point by their part of the template.
    fn whole(&mut self, template: &str, int: &str, behind: usize) {
        let before = places(template);
        let overflows = int.len() > before;
        let zero = template.chars().filter(|c| matches!(c, '9' | '0')).position(|c| c == '0');
        let (mut place, mut started) = (0, false);
        let mut chars = template.chars().peekable();
        while let Some(c) = chars.next() {
            let next = chars.peek().copied();
            match c {
                '9' | '0' => {
                    let from_right = before - place;
                    let digit = int.len().checked_sub(from_right).and_then(|at| int.chars().nth(at));
                    started |= digit.is_some() || zero.is_some_and(|zero| place >= zero);
                    let last = place + 1 == before && behind == 0;
                    self.digits.push(match digit {
                        _ if overflows => '#',
                        Some(digit) => digit,
                        None if started || last => '0',
                        None => ' ',
                    });
                    place += 1;
                }
                ',' | 'G' => self.digits.push(if started { ',' } else { ' ' }),
                '"' if place == 0 => self.prefix.extend(chars.by_ref().take_while(|c| *c != '"')),
                '"' => self.digits.extend(chars.by_ref().take_while(|c| *c != '"')),
                c if self.take_sign(c, next, place > 0) => drop(chars.next_if(|_| c != 'S')),
                other => self.digits.push(other),
            }
        }
    }

    /// The digits behind the point.
    fn fraction(&mut self, template: &str, digits: &str, overflows: bool) {
        self.digits.push('.');
        let mut digits = digits.chars();
        let mut chars = template.chars().peekable();
        while let Some(c) = chars.next() {
            let next = chars.peek().copied();
            match c {
                '9' | '0' => {
                    let digit = digits.next().unwrap_or('0');
                    self.digits.push(if overflows { '#' } else { digit });
                }
                c if self.take_sign(c, next, true) => drop(chars.next_if(|_| c != 'S')),
                other => self.digits.push(other),
            }
        }
    }

    /// Leaves out zeros behind the last 0 of the template.
    fn trim_fraction(&mut self, template: &str) {
        let keep = template.rfind('0').map_or(0, |at| places(template.get(..=at).unwrap_or_default()));
        let point = self.digits.rfind('.').unwrap_or(0);
        while self.digits.ends_with('0') && self.digits.len() - point - 1 > keep {
            self.digits.pop();
        }
    }

    fn signed(&self, negative: bool) -> String {
        let plus = self.sign_first && !self.minus_last || self.sign_last || self.plus;
        let sign = if negative {
            '-'
        } else if plus {
            '+'
        } else {
            ' '
        };
        let body = self.digits.trim_start_matches(' ');
        let mut text = " ".repeat(self.digits.len() - body.len());
        if self.brackets {
            text.push(if negative { '<' } else { ' ' });
            text.push_str(body);
            text.push(if negative { '>' } else { ' ' });
        } else if self.sign_last || self.minus_last {
            text.push_str(body);
            text.push(if self.minus_last && !negative { ' ' } else { sign });
        } else {
            text.push(sign);
            text.push_str(body);
        }
        text
    }
}

fn number(value: &str, template: &str, out: &mut String) -> Made<()> {
    let fill = template.contains("FM");
    let template = template.replace("FM", "");
    let (whole, fraction) = template.split_once(['.', 'D']).map_or((template.as_str(), None), |(w, f)| (w, Some(f)));
    let behind = fraction.map_or(0, places);
    let known = behind.min(37);
    let Ok(scaled) = crate::types::text::read::decimal(value.trim_start_matches('-'), 38, known as i8) else {
        return Err(Reason::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range"));
    };
    let mut digits = format!("{scaled:0width$}", width = known + 1);
    digits.extend(std::iter::repeat_n('0', behind - known));
    let (int, frac) = digits.split_at(digits.len() - behind);
    let int = if int == "0" { "" } else { int };
    let mut shown = Shown::default();
    shown.whole(whole, int, behind);
    if let Some(fraction) = fraction {
        shown.fraction(fraction, frac, int.len() > places(whole));
        if fill {
            shown.trim_fraction(fraction);
        }
    }
    let text = shown.signed(value.starts_with('-') && scaled != 0);
    out.push_str(&shown.prefix);
    out.push_str(if fill { text.trim() } else { &text });
    Ok(Some(()))
}
