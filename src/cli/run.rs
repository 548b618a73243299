//! `millstream run FILE.sql`: a script without a server. Statements run in order; a read waits for the bounded sources
//! below it; the end waits for every view and sink, and for sources without end until Ctrl-C.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use futures::StreamExt;
use tokio::time::{Duration, sleep, timeout};

use super::script::{located, read};
use super::serve::{Signals, runtime, stop};
use super::table::Table;
use super::{Launch, Screen};
use crate::base::{Error, Result, Settings, random};
use crate::engine::{
    CancelReason, CancelToken, CopyFormat, Notice, Outcome, RowStream, Severity, SqlEngine, SqlSession, Statement,
    TransactionState,
};
use crate::types::Schema;
use crate::wire::{Column, CopyLines};

/// Rows that wait for their widths are printed when no more come for so long.
const PRINT_PATIENCE: Duration = Duration::from_millis(300);
/// Pause between two looks at sources without end, and between two progress lines.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

const WAITABLE: &str = "SELECT name FROM ms_catalog.ms_jobs WHERE kind IN ('materialized view', 'sink') ORDER BY id";
const FAILED: &str = "SELECT name, kind, reason FROM ms_catalog.ms_jobs WHERE state = 'failed' ORDER BY id";
const ENDLESS: &str =
    "SELECT name FROM ms_catalog.ms_sources WHERE state = 'running' OR state LIKE 'retrying%' ORDER BY name";
const PROGRESS: &str = "SELECT CAST(coalesce(sum(rows_read), 0) AS BIGINT), min(watermark), \
                        (SELECT max(epoch) FROM ms_catalog.ms_jobs) FROM ms_catalog.ms_sources";

/// A folder that is removed when it is dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "temporary folder could not be removed");
        }
    }
}

/// Runs the script in `file`. Without a data folder of its own it gets a temporary one.
pub fn run(launch: &dyn Launch, mut settings: Settings, file: &Path, screen: &mut dyn Screen) -> Result<()> {
    let sql = read(file)?;
    let mut temporary = None;
    if settings.data_dir == Settings::default().data_dir {
        let name = format!("millstream-run-{}-{:08x}", std::process::id(), random::fresh_seed() as u32);
        settings.data_dir = std::env::temp_dir().join(name);
        temporary = Some(Temporary(settings.data_dir.clone()));
    }
    let runtime = runtime()?;
    let engine = launch.engine(&settings)?;
    let token = CancelToken::new();
    let ran = runtime.block_on(async {
        let progress = Progress::start(&engine, &token);
        let mut script = Script { token: &token, progress: &progress, screen, sql: &sql, file };
        let mut signals = Signals::new()?;
        let work = Box::pin(script.run(&*engine));
        tokio::select! {
            ran = work => ran,
            () = signals.next() => {
                token.cancel(CancelReason::Client);
                Err(Error::unavailable("script was interrupted").with_code("57014"))
            }
        }
    });
    token.cancel(CancelReason::Shutdown);
    let stopped = runtime.block_on(stop(&*engine, &settings));
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop((engine, temporary));
    ran.and(stopped)
}

/// One run of a script.
struct Script<'a> {
    token: &'a CancelToken,
    progress: &'a Progress,
    screen: &'a mut dyn Screen,
    sql: &'a str,
    file: &'a Path,
}

/// Whether the statement reads relations and ends: it then waits for what is below it.
fn reads(statement: &Statement) -> bool {
    let text = statement.text.to_ascii_uppercase();
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    match words.next() {
        Some("SELECT" | "WITH" | "VALUES" | "TABLE") => true,
        Some("COPY") => words.next() != Some("SUBSCRIBE"),
        Some(_) | None => false,
    }
}

impl Script<'_> {
    async fn run(&mut self, engine: &dyn SqlEngine) -> Result<()> {
        let mut session = engine.open_session("millstream", 0).await?;
        let settings = session.settings_mut();
        settings.set_at_start("application_name", "millstream run")?;
        settings.set_at_start("read_timeout", "0")?;
        let at = |error| located(error, self.file, self.sql);
        for statement in session.parse(self.sql).map_err(at)? {
            if reads(&statement) && session.transaction() == TransactionState::Idle {
                self.wait_for_all(&mut *session).await?;
            }
            let outcome = session.execute(&statement, &[], self.token.clone()).await;
            let outcome = outcome.map_err(|error| located(error, self.file, self.sql))?;
            let shown = self.show(outcome).await;
            shown.map_err(|error| located(error, self.file, self.sql))?;
        }
        self.wait_for_all(&mut *session).await?;
        while !self.texts(&mut *session, ENDLESS).await?.is_empty() {
            sleep(LOOK_PAUSE).await;
        }
        self.progress.clear();
        self.check_jobs(&mut *session).await
    }

    /// Waits until every view and sink holds what its inputs have, bounded ones to their end.
    async fn wait_for_all(&mut self, session: &mut dyn SqlSession) -> Result<()> {
        let names = self.texts(session, WAITABLE).await?;
        let quoted =
            names.iter().filter_map(|row| row.first()).map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
        let list = quoted.collect::<Vec<_>>().join(", ");
        if list.is_empty() {
            return Ok(());
        }
        let waited = self.texts(session, &format!("WAIT FOR {list}")).await;
        // A job that failed says more about it than the wait does.
        self.check_jobs(session).await.and(waited.map(|_| ()))
    }

    /// Fails with the first job that failed.
    async fn check_jobs(&mut self, session: &mut dyn SqlSession) -> Result<()> {
        let failed = self.texts(session, FAILED).await?;
        match failed.first().map(Vec::as_slice) {
            Some([name, kind, reason]) => {
                let error = Error::fault(format!("job of {kind} \"{name}\" failed: {reason}"));
                Err(if failed.len() > 1 {
                    error.with_detail(format!("{} jobs failed in all.", failed.len()))
                } else {
                    error
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The rows of one statement of ours, as texts; NULL is empty.
    async fn texts(&self, session: &mut dyn SqlSession, sql: &str) -> Result<Vec<Vec<String>>> {
        texts(session, sql, self.token).await
    }

    /// Prints what a statement gave.
    async fn show(&mut self, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Rows { schema, rows, notices, .. } => {
                self.notices(&notices);
                self.table(schema, rows).await
            }
            Outcome::CopyOut { schema, rows, format, .. } => self.lines(schema, rows, format).await,
            Outcome::CopyIn { .. } => {
                Err(Error::unsupported("COPY FROM STDIN has no client here that could send rows")
                    .with_hint("Write INSERT, or make a source over the file."))
            }
            Outcome::Done { tag, notices } => {
                self.notices(&notices);
                self.print(&format!("{tag}\n"))
            }
        }
    }

    fn print(&mut self, text: &str) -> Result<()> {
        self.progress.clear();
        self.screen.print(text)
    }

    fn notices(&self, notices: &[Notice]) {
        self.progress.clear();
        for notice in notices {
            let severity = match notice.severity {
                Severity::Notice => "NOTICE",
                Severity::Warning => "WARNING",
            };
            let mut err = std::io::stderr().lock();
            let _ = writeln!(err, "{severity}: {}", notice.message);
            for (label, text) in [("DETAIL", &notice.detail), ("HINT", &notice.hint)] {
                if let Some(text) = text {
                    let _ = writeln!(err, "{label}: {text}");
                }
            }
        }
    }

    async fn table(&mut self, schema: Schema, mut rows: RowStream) -> Result<()> {
        let mut table = Table::new(schema.clone());
        let mut text = String::new();
        loop {
            let patience = if table.is_waiting() { PRINT_PATIENCE } else { Duration::MAX };
            let Ok(next) = timeout(patience, rows.next()).await else {
                table.print(&mut text);
                self.print(&std::mem::take(&mut text))?;
                continue;
            };
            let Some(batch) = next.transpose()? else { break };
            let arrays = batch.columns().iter().zip(&schema.columns);
            let columns: Vec<Column<'_>> =
                arrays.map(|(array, column)| Column::new(array, &column.ty)).collect::<Result<_>>()?;
            for row in 0..batch.num_rows() {
                if table.add(&columns, row) {
                    table.print(&mut text);
                }
            }
            if !text.is_empty() {
                self.print(&std::mem::take(&mut text))?;
            }
        }
        table.finish(&mut text);
        self.print(&text)
    }

    async fn lines(&mut self, schema: Schema, mut rows: RowStream, format: CopyFormat) -> Result<()> {
        let header = format.header;
        let mut lines = CopyLines::new(format);
        let mut text = BytesMut::new();
        if header {
            lines.header_line(&schema, &mut text);
            text.extend_from_slice(b"\n");
        }
        while let Some(batch) = rows.next().await.transpose()? {
            let arrays = batch.columns().iter().zip(&schema.columns);
            let columns: Vec<Column<'_>> =
                arrays.map(|(array, column)| Column::new(array, &column.ty)).collect::<Result<_>>()?;
            for row in 0..batch.num_rows() {
                lines.line(&columns, row, &mut text);
                text.extend_from_slice(b"\n");
            }
            self.print(&String::from_utf8_lossy(&text))?;
            text.clear();
        }
        self.print(&String::from_utf8_lossy(&text))
    }
}

/// Runs one statement and gives its rows as texts; NULL is empty.
async fn texts(session: &mut dyn SqlSession, sql: &str, token: &CancelToken) -> Result<Vec<Vec<String>>> {
    let mut found = Vec::new();
    for statement in session.parse(sql)? {
        let outcome = session.execute(&statement, &[], token.clone()).await?;
        let Outcome::Rows { schema, mut rows, .. } = outcome else { continue };
        let mut value = BytesMut::new();
        while let Some(batch) = rows.next().await.transpose()? {
            let arrays = batch.columns().iter().zip(&schema.columns);
            let columns: Vec<Column<'_>> =
                arrays.map(|(array, column)| Column::new(array, &column.ty)).collect::<Result<_>>()?;
            for row in 0..batch.num_rows() {
                let row = columns.iter().map(|column| {
                    value.clear();
                    column.write_text(row, &mut value);
                    String::from_utf8_lossy(&value).into_owned()
                });
                found.push(row.collect());
            }
        }
    }
    Ok(found)
}

/// The progress line on a terminal: rows, rows per second, watermark, epoch.
struct Progress {
    terminal: bool,
}

impl Progress {
    /// Shows the line from a task of its own until `token` is cancelled.
    fn start(engine: &Arc<dyn SqlEngine>, token: &CancelToken) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        if terminal {
            let (engine, token) = (Arc::clone(engine), token.clone());
            tokio::spawn(async move {
                tokio::select! {
                    shown = show_progress(&*engine, &token) => {
                        if let Err(error) = shown {
                            tracing::debug!(%error, "progress is not shown any more");
                        }
                    }
                    _ = token.cancelled() => {}
                }
            });
        }
        Progress { terminal }
    }

    /// Takes the line away, for something else to be printed.
    fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

async fn show_progress(engine: &dyn SqlEngine, token: &CancelToken) -> Result<()> {
    let mut session = engine.open_session("millstream", 0).await?;
    let (mut before, mut at) = (0u64, Instant::now());
    loop {
        sleep(LOOK_PAUSE).await;
        let rows = texts(&mut *session, PROGRESS, token).await?;
        let Some([read, watermark, epoch]) = rows.first().map(Vec::as_slice) else { continue };
        let read: u64 = read.parse().unwrap_or(before);
        let seconds = at.elapsed().as_secs_f64();
        let per_second = (read.saturating_sub(before)) as f64 / seconds.max(0.001);
        if read != before {
            let line = progress_line(read, per_second, watermark, epoch);
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K{line}");
        }
        (before, at) = (read, Instant::now());
    }
}

fn progress_line(read: u64, per_second: f64, watermark: &str, epoch: &str) -> String {
    let watermark = if watermark.is_empty() { "-" } else { watermark };
    let epoch = if epoch.is_empty() { "-" } else { epoch };
    format!("{read} rows · {per_second:.0} rows/s · watermark {watermark} · epoch {epoch}")
}

#[cfg(test)]
mod tests;
