//! `Join`: every kind, on equalities, ranges and any other condition.

use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::Join;

use super::Lowering;
use super::band::band_of;
use super::interval::Together;
use crate::base::{Error, Result};
use crate::dataflow::{Edge, WatermarkExpr};
use crate::functions::{Expr, Literal, error_from_datafusion, from_datafusion};
use crate::operators::{JoinKind, JoinSpec, OperatorSpec, UnionSpec};
use crate::plan::build::Stream;
use crate::types::Schema;

/// One input of a join: its stream, with key expressions added as columns.
#[derive(Clone)]
pub(super) struct Side {
    pub stream: Stream,
    pub keys: Vec<usize>,
    /// How many columns it had before, those that are asked for.
    pub width: usize,
}

/// A join whose inputs are lowered.
#[derive(Clone)]
struct Prepared {
    left: Side,
    right: Side,
    spec: JoinSpec,
    together: Vec<Together>,
}

/// Whether a logical join's sides are exchanged for its kind.
fn kind_of(join_type: JoinType) -> (JoinKind, bool) {
    match join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi | JoinType::LeftMark => (JoinKind::Semi, false),
        JoinType::RightSemi | JoinType::RightMark => (JoinKind::Semi, true),
        JoinType::LeftAnti => (JoinKind::Anti, false),
        JoinType::RightAnti => (JoinKind::Anti, true),
    }
}

impl Lowering {
    pub(super) fn join(&mut self, join: &Join) -> Result<Stream> {
        let (kind, exchanged) = kind_of(join.join_type);
        let prepared = self.prepare_join(join, exchanged)?;
        let names: Vec<String> = join.schema.fields().iter().map(|field| field.name().clone()).collect();
        if !matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark) {
            return self.joined(prepared, kind, &names, None);
        }
        // A mark says of each row whether it has a match: the rows that have one, and the others.
        let mut edges = Vec::new();
        let mut known = None;
        for (kind, mark) in [(JoinKind::Semi, true), (JoinKind::Anti, false)] {
            let mut side = self.joined(prepared.clone(), kind, &names, Some(mark))?;
            edges.push(self.builder.edge(&mut side, None)?);
            known = Some(side);
        }
        let known = known.ok_or_else(|| Error::internal("a mark join has no sides"))?;
        let spec = UnionSpec { schema: known.schema.clone(), inputs: edges.len() };
        let mut stream = self.builder.operator(OperatorSpec::Union(spec), edges, false, false)?;
        stream.closes = known.closes;
        stream.placed_by = known.placed_by;
        stream.unique = known.unique;
        Ok(stream)
    }

    /// Lowers the inputs of a join, tells late rows where that frees state, and reads its conditions.
    fn prepare_join(&mut self, join: &Join, exchanged: bool) -> Result<Prepared> {
        let (one, other) = if exchanged { (&join.right, &join.left) } else { (&join.left, &join.right) };
        let left = self.lower(one)?;
        let right = self.lower(other)?;
        let mut keys = (Vec::new(), Vec::new());
        for (l, r) in &join.on {
            let (l, r) = if exchanged { (r, l) } else { (l, r) };
            keys.0.push(from_datafusion(l, one.schema())?);
            keys.1.push(from_datafusion(r, other.schema())?);
        }
        let residual = match &join.filter {
            Some(filter) => {
                let both = one.schema().join(other.schema()).map_err(error_from_datafusion)?;
                Some(from_datafusion(filter, &both)?)
            }
            None => None,
        };
        let columns = keys.0.iter().zip(&keys.1).filter_map(|pair| match pair {
            (Expr::Column(l), Expr::Column(r)) => Some((*l, *r)),
            _ => None,
        });
        let columns: Vec<(usize, usize)> = columns.collect();
        let shown = |stream: &Stream| Schema::new(stream.schema.columns[..stream.width()].to_vec());
        let band = residual.as_ref().and_then(|one| band_of(one, &shown(&left), &shown(&right), (&keys.0, &keys.1)));
        let (left, right, together) = self.seal(left, right, &columns, band.as_ref())?;
        let (mut left, mut right) = (left, right);
        left.drop_hidden()?;
        right.drop_hidden()?;
        let (mut left, mut right) = (with_keys(left, keys.0)?, with_keys(right, keys.1)?);
        self.builder.settle(&mut left.stream)?;
        self.builder.settle(&mut right.stream)?;
        let left_columns = left.stream.schema.columns.len();
        let residual = residual.map(|mut residual| {
            residual.map_columns(&mut |i| if i < left.width { i } else { left_columns + i - left.width });
            residual
        });
        let on: Vec<(usize, usize)> = left.keys.iter().copied().zip(right.keys.iter().copied()).collect();
        let revised = [!left.stream.append_only, !right.stream.append_only];
        let spec = JoinSpec {
            null_safe: join.null_equality == NullEquality::NullEqualsNull,
            band,
            free: together.first().map(|together| together.due(revised)),
            ..JoinSpec::inner(left.stream.schema.clone(), right.stream.schema.clone(), on, residual)
        };
        self.notice_product(&spec, &left, &right);
        Ok(Prepared { left, right, spec, together })
    }

    /// Both inputs of a join on equalities alone, and the edges by which rows of one key meet.
    pub(super) fn keyed(
        &mut self,
        (mut left, left_names): (Stream, &DFSchema),
        (mut right, right_names): (Stream, &DFSchema),
        on: &[(datafusion::logical_expr::Expr, datafusion::logical_expr::Expr)],
    ) -> Result<(Side, Side, Vec<Edge>)> {
        left.drop_hidden()?;
        right.drop_hidden()?;
        let keys = on.iter().map(|(l, r)| Ok((from_datafusion(l, left_names)?, from_datafusion(r, right_names)?)));
        let (left_keys, right_keys) = keys.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let (mut left, mut right) = (with_keys(left, left_keys)?, with_keys(right, right_keys)?);
        let edges = vec![
            self.builder.edge(&mut left.stream, Some(&left.keys))?,
            self.builder.edge(&mut right.stream, Some(&right.keys))?,
        ];
        Ok((left, right, edges))
    }

    /// A join of two big sides without a key looks at every pair: its author should know.
    fn notice_product(&mut self, spec: &JoinSpec, left: &Side, right: &Side) {
        if spec.on.is_empty() && spec.band.is_none() && !left.stream.single && !right.stream.single {
            self.notices.push(format!(
                "the join ({}) has no equality and no range: every row of one side meets every row of the other",
                spec.detail()
            ));
        }
    }

    /// The join's operator, what is known of the rows that leave it, and their names; with a mark as the last column.
    fn joined(&mut self, prepared: Prepared, kind: JoinKind, names: &[String], mark: Option<bool>) -> Result<Stream> {
        let Prepared { mut left, mut right, spec, together } = prepared;
        let edges = vec![
            self.builder.edge(&mut left.stream, Some(&left.keys))?,
            self.builder.edge(&mut right.stream, Some(&right.keys))?,
        ];
        let widths = (left.width, right.width);
        let (left, right) = (left.stream, right.stream);
        let inputs_append_only = left.append_only && right.append_only;
        let left_columns = left.schema.columns.len();
        let on = spec.on.clone();
        let spec = JoinSpec { kind, ..spec };
        let append_only = inputs_append_only && matches!(kind, JoinKind::Inner | JoinKind::Semi);
        let mut stream = self.builder.operator(OperatorSpec::Join(spec), edges, append_only, inputs_append_only)?;
        stream.closes = left.closes.and(right.closes);
        stream.single = left.single && right.single;
        stream.placed_by = match kind {
            JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti => {
                Some(on.iter().map(|on| on.0).collect())
            }
            JoinKind::Right => Some(on.iter().map(|on| left_columns + on.1).collect()),
            // A row without a match has no key on one of the sides.
            JoinKind::Full => None,
        };
        let one_side = matches!(kind, JoinKind::Semi | JoinKind::Anti);
        if one_side {
            stream.unique = left.unique.clone();
        }
        if left.watermark != WatermarkExpr::None && right.watermark != WatermarkExpr::None {
            stream.watermark = WatermarkExpr::Min(vec![left.watermark, right.watermark]);
        }
        for (column, shift) in together.iter().flat_map(|one| one.windows(left_columns)) {
            if !one_side || column < left_columns {
                stream.windows.insert(column, shift);
                stream.sealed = true;
            }
        }
        let shown = (0..widths.0).chain((0..if one_side { 0 } else { widths.1 }).map(|i| left_columns + i));
        let mut columns: Vec<(String, Expr)> =
            shown.zip(names).map(|(column, name)| (name.clone(), Expr::Column(column))).collect();
        if let (Some(mark), Some(name)) = (mark, names.last()) {
            columns.push((name.clone(), Expr::Literal(Literal::boolean(mark))));
        }
        // A mark and a computed key may make up for each other in number.
        if mark.is_some() || columns.len() != stream.schema.columns.len() {
            stream.project(columns)?;
        }
        Ok(stream)
    }
}

/// Takes the computed keys of both inputs out of a join's output, of which the left input makes up `left_columns`.
pub(super) fn without_keys(stream: &mut Stream, widths: [usize; 2], left_columns: usize) -> Result<()> {
    if stream.schema.columns.len() == widths[0] + widths[1] {
        return Ok(());
    }
    let shown = (0..widths[0]).chain((0..widths[1]).map(|i| left_columns + i));
    let columns = shown.map(|i| (stream.schema.columns[i].name.clone(), Expr::Column(i)));
    stream.project(columns.collect())
}

/// `stream` as an input of a join; key expressions that are no columns become columns at its end.
fn with_keys(mut stream: Stream, on: Vec<Expr>) -> Result<Side> {
    let width = stream.width();
    let named = stream.schema.columns[..width].iter().enumerate();
    let mut columns: Vec<(String, Expr)> = named.map(|(i, column)| (column.name.clone(), Expr::Column(i))).collect();
    let mut keys = Vec::new();
    for expr in on {
        match expr {
            Expr::Column(i) => keys.push(i),
            computed => {
                keys.push(columns.len());
                columns.push((format!("__key_{}", columns.len()), computed));
            }
        }
    }
    if columns.len() > width {
        stream.project(columns)?;
    }
    Ok(Side { stream, keys, width })
}
