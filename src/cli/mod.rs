//! Floor 11: the command line. `serve` (also without a word), `run FILE.sql`, `check FILE.sql`.

mod arguments;
mod check;
mod run;
mod script;
mod serve;
mod table;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crate::base::{Error, Result, Settings, telemetry};
use crate::engine::{SqlChecker, SqlEngine};
use arguments::{Command, Parsed};

/// Makes engines: the one thing that the command line needs to be given.
pub trait Launch: Sync {
    /// Opens the data directory, recovers, goes on. Blocks meanwhile.
    fn engine(&self, settings: &Settings) -> Result<Arc<dyn SqlEngine>>;

    /// A checker that touches nothing.
    fn checker(&self, settings: &Settings) -> Result<Box<dyn SqlChecker>>;
}

/// Runs the command that `arguments` (the program's name first) name. Errors are printed on stderr, results on stdout.
pub fn main(launch: &dyn Launch, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = match arguments::parse(arguments) {
        Ok(parsed) => parsed,
        // Help and version are "errors" of clap with their own streams and codes.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match execute(launch, parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn execute(launch: &dyn Launch, parsed: Parsed) -> Result<()> {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let (settings, warnings) = Settings::load(parsed.config.as_deref(), environment, &parsed.flags)?;
    telemetry::start(&settings.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match parsed.command {
        Command::Serve => serve::serve(launch, settings),
        Command::Run(file) => run::run(launch, settings, &file, &mut Stdout),
        Command::Check(file) => check::check(launch, &settings, &file, &mut Stdout),
    }
}

/// Where results go.
pub(crate) trait Screen: Send {
    /// Prints `text` at once; an error when nobody reads any more.
    fn print(&mut self, text: &str) -> Result<()>;
}

/// The process's standard output.
struct Stdout;

impl Screen for Stdout {
    fn print(&mut self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
        Ok(())
    }
}

/// Prints an error with all its parts, as psql does.
fn complain(error: &Error) {
    let code = error.sqlstate();
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "ERROR: {} ({code})", error.report());
}
